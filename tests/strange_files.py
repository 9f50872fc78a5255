"""What may lie where a file is expected, and a watch over readers that would wait for it for ever or take all memory."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

SECONDS = 2.0
"""So often it is looked whether somebody waits at a FIFO; whoever does is set free, and the test fails."""

MEMORY = 3 * 1024**3
"""Bytes that the process may take beyond what it has: a reader of /dev/zero takes all there is."""


def _socket(path: Path) -> None:
    here = os.open(path.parent, os.O_RDONLY)  # the name of a socket has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _linked_fifo(path: Path) -> None:
    os.mkfifo(f"{path}.pipe")
    path.symlink_to(f"{path}.pipe")


def sparse(path: Path, size: int) -> None:
    """Make a file that says it has so many bytes and takes none."""
    path.touch()
    os.truncate(path, size)


STRANGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO": (os.mkfifo, "named pipe"),
    "a link to a FIFO": (_linked_fifo, "named pipe"),
    "a link to /dev/zero": (lambda path: path.symlink_to("/dev/zero"), "device"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "leads back to itself"),
    "a link to nowhere": (lambda path: path.symlink_to("nowhere"), "leads nowhere"),
    "a socket": (_socket, "socket"),
    "a file without end": (lambda path: sparse(path, 10 * 1024**3), "bytes; expected at most"),
}
"""How to make each, and what a person reads about it."""

NOT_READABLE = {
    "a file without permission": (errno.EACCES, "Permission denied"),
    "a file on a bad sector": (errno.EIO, "Input/output error"),
}


def flipped(content: bytes, at: int | None = None) -> bytes:
    """Return content of which one byte is another: that at a place, or the one in the middle."""
    place = len(content) // 2 if at is None else at
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def make_strange(kind: str, path: Path) -> str:
    """Put something strange in the place of a file, and return what a person must read about it."""
    make, reason = STRANGE[kind]
    path.unlink(missing_ok=True)
    make(path)
    return reason


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let the file fail when it is opened, as for a user without permission: these tests may run as root, whom none is refused."""
    real = os.open

    def opened(what: str | os.PathLike[str], flags: int, *rest: int, **more: int) -> int:
        name = os.fspath(what)
        if name.startswith("/proc/self/fd/"):
            name = os.path.realpath(name)
        if name == str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(what, flags, *rest, **more)

    monkeypatch.setattr(os, "open", opened)


@contextmanager
def watched(*folders: Path, memory: int = MEMORY) -> Iterator[None]:
    """Fail instead of waiting for ever at a FIFO in these folders, or of taking more than so much more memory."""
    done, waited = threading.Event(), threading.Event()

    def set_free() -> None:
        while not done.wait(SECONDS):
            for path in (path for folder in folders for path in folder.rglob("*")):
                with suppress(OSError):  # ENXIO: nobody waits at it
                    if stat.S_ISFIFO(path.lstat().st_mode):
                        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                        waited.set()

    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    watcher = threading.Thread(target=set_free, daemon=True)
    watcher.start()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        done.set()
        watcher.join()
    assert not waited.is_set(), "something waited at a FIFO"
