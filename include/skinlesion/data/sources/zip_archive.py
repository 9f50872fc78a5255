"""A zip file from elsewhere: what it may hold is decided from its list, before anything is written."""

from __future__ import annotations

import copy
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from skinlesion.data.sources.intake import is_safe
from skinlesion.foundation.errors import DataError

MOST_MEMBERS: Final = 200_000
"""Several times the largest challenge's; a list of so many takes some hundred MB of memory."""

LARGEST_MEMBER: Final = 500 * 1024**2
"""Bytes; the ISIC Archive's largest images have some 30 MB."""

EXPANSION: Final = 10
SMALL: Final = 100 * 1024**2
"""All members together may have so many times the bytes of the file itself, and 100 MB whatever its size: JPEGs do not
shrink, tables do, and what expands a thousandfold is a bomb."""

_BLOCK: Final = 1 << 20
_LEADS_OUT: Final = re.compile(r"^/|^[A-Za-z]:|[\\\0]")


class Damaged(Exception):
    """The archive, or one member of it, is not what it was; the message says how."""


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file. Raises Damaged when it is none, or cut off."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise Damaged(f"{path.name} is no whole zip file ({error})") from None
    with archive:
        yield archive


def files_of(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """Give the files of an archive, without folders and what is hidden, in the archive's order.

    Raises DataError when any member's name leads out of the folder, any is a link or encrypted, or they are too many or
    too large by what the list says: then the archive is not what it is taken for, and none of it is used.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{name} lists {len(members):,} files; expected at most {MOST_MEMBERS:,}. Nothing is unpacked.")
    for member in members:
        problem = _problem(member)
        if problem:
            raise DataError(
                f"{name}: the member {member.orig_filename!r} {problem}. Nothing of the archive is unpacked."
            )
    whole = sum(member.file_size for member in members)
    packed = Path(archive.filename or name).stat().st_size
    if whole > max(SMALL, EXPANSION * packed):
        raise DataError(
            f"{name} would unpack to {whole:,} bytes from {packed:,}; expected at most {EXPANSION} times as many. Nothing "
            "of it is unpacked."
        )
    return [member for member in members if not member.is_dir() and not _is_hidden(member.filename)]


def write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member to a path; at most the bytes that the list says. Raises Damaged when its bytes are not its own."""
    unchecked = copy.copy(member)
    del unchecked.CRC  # it is checked here, so that the message can say what was found
    crc = size = 0
    try:
        with archive.open(unchecked) as reader, path.open("wb") as writer:
            while block := reader.read(_BLOCK):
                size += len(block)
                if size > member.file_size:
                    break
                crc = zlib.crc32(block, crc)
                writer.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Damaged(f"{member.filename} cannot be unpacked ({error})") from None
    if size != member.file_size:
        raise Damaged(f"{member.filename}: expected {member.file_size} bytes, found {size}")
    if crc != member.CRC:
        raise Damaged(f"{member.filename}: expected CRC-32 {member.CRC:08x}, found {crc:08x}")


def holds(path: Path, member: zipfile.ZipInfo) -> bool:
    """Tell whether a file's content is that of a member, by size and CRC-32."""
    if not path.exists() or path.stat().st_size != member.file_size:
        return False
    crc = 0
    with path.open("rb") as reader:
        while block := reader.read(_BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == member.CRC


def _problem(member: zipfile.ZipInfo) -> str:
    name = member.filename
    parts = PurePosixPath(name).parts
    # zipfile cuts a name at a NUL byte and may turn backslashes round; the original says what was meant.
    if _LEADS_OUT.search(member.orig_filename) or ".." in parts:
        return "has a name that leads out of the folder"
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > LARGEST_MEMBER:
        return f"has {member.file_size:,} bytes; expected at most {LARGEST_MEMBER:,}"
    if not _is_hidden(name) and not is_safe(name.rstrip("/")):
        return "has a name that no file here can have"
    return ""


def _is_hidden(name: str) -> bool:
    """Also what macOS puts beside each file."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
