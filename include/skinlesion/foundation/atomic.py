"""Files that are whole or not there: write beside, fsync, rename. Every durable file of the project is written here.

A write that the disk did not take as a whole (it is full, a quota, a failed fsync) is an OSError, never half a file.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

PARTIAL_SUFFIX: Final = ".partial"
"""Suffix of a file that is being written. Code that lists a folder skips these; `remove_partials` removes those of a
killed run."""

ABANDONED_AFTER_SECONDS: Final = 24 * 3600

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

_HOST: Final = socket.gethostname()

_NAME_KEPT: Final = 24  # characters, of up to four bytes each


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Provide a path to write to; on leaving without an error its file replaces `path` atomically.

    The file is flushed to disk before it is renamed, so a power cut leaves the old file or the new one. After an error
    nothing is left. The temporary name keeps the suffix, since Keras chooses a format by it.

    With durable=False the caller flushes: one that makes many small files calls `flush_all` once, before it writes the
    table that names them.
    """
    partial = partial_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if durable:
            flush(partial)
        os.replace(partial, path)
        if durable:
            flush(path.parent)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def require_room(folder: Path, size: int) -> None:
    """Raise OSError (ENOSPC) if a file of so many bytes does not fit: a library that crashes on a full disk is not asked to."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(
            errno.ENOSPC, f"No space left on device: {size:,} bytes are needed, {free:,} are free", str(folder)
        )


def partial_of(path: Path) -> Path:
    """Return the path beside `path` that this thread writes to before it renames; the name says who the writer is."""
    # A file system takes 255 bytes, a host's name up to 64 of them; a thread writes one file at a time.
    return path.with_name(f".{path.stem[:_NAME_KEPT]}.{_writer()}{PARTIAL_SUFFIX}{path.suffix}")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        _write_new(partial, content)


def append(path: Path, content: bytes, *, after: int) -> None:
    """Put content after the first `after` bytes of a file and bring it to the disk; what followed them goes.

    If the disk does not take all of it, the file ends after those bytes and an OSError is raised. The caller holds a lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        if not after:  # the file may be new, and a line on the disk is worth nothing without the file's name
            flush(path.parent)
        os.ftruncate(descriptor, after)
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(descriptor, after)
                os.fsync(descriptor)
            raise
    finally:
        os.close(descriptor)


def _write_new(path: Path, content: bytes | memoryview) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        _write_all(descriptor, content)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    """Write all of it; the system may take less at once, as on a disk that is about to be full."""
    rest = memoryview(content)
    while rest:
        written = os.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, f"{len(rest)} of {len(content)} bytes could not be written")
        rest = rest[written:]


def write_one_of_many(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, fast where many threads write to one folder, which must exist.

    The caller flushes, as with durable=False above, and calls `remove_partials(folder, own=True)` in the end. Each thread
    writes in a folder of its own and moves the file from there: a folder takes one new file at a time, and creating a
    file takes twice as long as renaming one on ext4.
    """
    scratch = path.parent / f".scratch.{_writer()}{PARTIAL_SUFFIX}"
    partial = scratch / path.name
    try:
        _write_new(partial, content)
    except FileNotFoundError:
        scratch.mkdir()
        _write_new(partial, content)
    os.replace(partial, path)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Provide a folder of the same name elsewhere to fill; on leaving without an error it takes the place of `folder`.

    The two change places in one step, so that killed at any time `folder` is whole: the old one or the new one. After an
    error the old one stays and nothing else is left. NFS has no such step; `settle_folder` undoes what a kill left there.
    """
    settle_folder(folder)
    scratch = folder.parent / f".scratch.{_writer()}{PARTIAL_SUFFIX}"
    shutil.rmtree(scratch, ignore_errors=True)
    new = scratch / folder.name
    new.mkdir(parents=True)
    try:
        yield new
        for path in (*new.rglob("*"), new):
            flush(path)
        _exchange(new, folder) if folder.exists() else os.replace(new, folder)
        flush(folder.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def settle_folder(folder: Path) -> None:
    """Put a folder back whose replacement was killed between the two renames that it takes on NFS."""
    if not folder.exists() and _aside(folder).exists():
        os.replace(_aside(folder), folder)
    shutil.rmtree(_aside(folder), ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


_EXCHANGE: Final = 2  # RENAME_EXCHANGE of renameat2(2), which Python does not offer
_AT_FDCWD: Final = -100


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change places: in one step, or in two on a file system that has no such step (NFS)."""
    if _LIBC.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) == 0:
        return
    if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(other))
    os.replace(other, _aside(other))
    os.replace(one, other)
    shutil.rmtree(_aside(other), ignore_errors=True)


def _writer() -> str:
    return f"{_HOST}-{os.getpid()}-{threading.get_ident()}"


def write_text(path: Path, content: str) -> None:
    """Write a text file (UTF-8) whole or not at all."""
    write_bytes(path, content.encode())


def write_if_changed(path: Path, content: bytes) -> bool:
    """Write the file unless it holds this content already. Returns whether it was written."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    write_bytes(path, content)
    return True


def is_partial(name: str) -> bool:
    """Return whether a file name is that of a file that is being written."""
    return name.startswith(".") and PARTIAL_SUFFIX in name


def remove_partials(folder: Path, *, own: bool = False) -> None:
    """Remove the half-written files of killed runs from a folder and, with `own`, those of this process.

    Several shards write to one folder at the same time, on several machines. So a file is removed when its writer was a
    process of this machine that has ended, or when nothing has changed the file for a day.
    """
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        if is_partial(entry.name):
            with suppress(FileNotFoundError):
                if _is_abandoned(entry) or (own and f".{_HOST}-{os.getpid()}-" in entry.name):
                    _remove(entry)


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    writer = entry.name.partition(PARTIAL_SUFFIX)[0]
    host, _, process = writer.rpartition("-")[0].rpartition("-")
    is_ours = host.endswith(f".{_HOST}") and process.isdigit()
    if is_ours and not Path("/proc", process).exists():
        return True
    changed = (path.lstat().st_mtime for path in (Path(entry), *Path(entry).rglob("*")))
    return time.time() - max(changed) > ABANDONED_AFTER_SECONDS


def flush_all(folder: Path) -> None:
    """Flush everything that was written on the file system of a folder; unlike os.sync it tells when that failed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
