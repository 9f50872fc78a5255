"""Files that are whole or not there: write beside, fsync, rename."""

from __future__ import annotations

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

_HOST: Final = socket.gethostname()

_NAME_KEPT: Final = 24  # characters, of up to four bytes each


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Provide a path to write to; on leaving without an error its file replaces `path` atomically.

    The file is flushed to disk before it is renamed, so a power cut leaves the old file or the new one. After an error
    nothing is left. The temporary name keeps the suffix, since Keras chooses a format by it.

    With durable=False the caller flushes: one that makes many small files calls `os.sync` once, before it writes the
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


def partial_of(path: Path) -> Path:
    """Return the path beside `path` that this thread writes to before it renames; the name says who the writer is."""
    # A file system takes 255 bytes, a host's name up to 64 of them; a thread writes one file at a time.
    return path.with_name(f".{path.stem[:_NAME_KEPT]}.{_writer()}{PARTIAL_SUFFIX}{path.suffix}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_one_of_many(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, fast where many threads write to one folder, which must exist.

    The caller flushes, as with durable=False above, and calls `remove_partials(folder, own=True)` in the end. Each thread
    writes in a folder of its own and moves the file from there: a folder takes one new file at a time, and creating a
    file takes twice as long as renaming one on ext4.
    """
    scratch = path.parent / f".scratch.{_writer()}{PARTIAL_SUFFIX}"
    partial = scratch / path.name
    try:
        partial.write_bytes(content)
    except FileNotFoundError:
        scratch.mkdir()
        partial.write_bytes(content)
    os.replace(partial, path)


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
    return time.time() - entry.stat().st_mtime > ABANDONED_AFTER_SECONDS


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
