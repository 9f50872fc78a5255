"""Unpack a zip file from elsewhere: its list decides what is refused, before anything is written."""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from skinlesion.data.sources.intake import is_safe
from skinlesion.foundation.errors import DataError

MOST_MEMBERS: Final = 200_000
"""Several times the members of the largest challenge; a list of so many takes some hundred MB of memory."""

LARGEST_MEMBER: Final = 500 * 1024**2
"""Bytes; the largest images of the ISIC Archive have some 30 MB."""

EXPANSION: Final = 10
SMALL: Final = 100 * 1024**2
"""All members together may have ten times the bytes of the zip, and 100 MB in any case: JPEGs do not shrink, tables do,
and what expands a thousandfold is a zip bomb."""

_LEADS_OUT: Final = re.compile(r"^/|^[A-Za-z]:|[\\\0]")


class Damaged(Exception):
    """The archive, or one member of it, is damaged; the message says how."""


def files_of(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """Return the files of an archive in its order, without folders and hidden files.

    Raises DataError when the name of any member leads out of the folder, any is a link or encrypted, or the list says
    that they are too many or too large: then nothing of the archive is used.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{name} lists {len(members):,} files; expected at most {MOST_MEMBERS:,}. Nothing is unpacked.")
    for member in members:
        if problem := _problem(member):
            raise DataError(
                f"{name}: the member {member.orig_filename!r} {problem}. Nothing of the archive is unpacked."
            )
    whole = sum(member.file_size for member in members)
    assert archive.fp is not None
    packed = os.fstat(archive.fp.fileno()).st_size
    if whole > max(SMALL, EXPANSION * packed):
        raise DataError(
            f"{name} would unpack to {whole:,} bytes from {packed:,}; expected at most {EXPANSION} times as many. Nothing "
            "of it is unpacked."
        )
    return [member for member in members if not member.is_dir() and not _is_hidden(member.filename)]


def write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member to a path, at most the bytes that the list says. Raises Damaged where its CRC-32 is another."""
    try:
        with archive.open(member) as reader, path.open("wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise Damaged(f"{member.filename} cannot be unpacked ({error or 'it ends early'})") from None


def holds(member: zipfile.ZipInfo, path: Path) -> bool:
    """Return whether a file has the content of a member, by size and CRC-32."""
    if not path.exists() or path.stat().st_size != member.file_size:
        return False
    crc = 0
    with path.open("rb") as reader:
        while block := reader.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc == member.CRC


def _problem(member: zipfile.ZipInfo) -> str:
    """Return what makes a member one that must not be unpacked; empty when nothing does."""
    name = member.filename
    # zipfile cuts a name at a NUL byte and may replace backslashes; the original name says what was meant.
    if _LEADS_OUT.search(member.orig_filename) or ".." in PurePosixPath(name).parts:
        return "has a name that leads out of the folder"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > LARGEST_MEMBER:
        return f"has {member.file_size:,} bytes; expected at most {LARGEST_MEMBER:,}"
    if not _is_hidden(name) and not is_safe(name.rstrip("/")):
        return "has a name that no file here can have"
    return ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)
