"""The one door for paths that come from outside: only a regular file of bounded size is opened, and what was opened is read.

Whoever fills a folder may leave anything there: a FIFO, whose reader waits for ever; a link to /dev/zero, which has no end; a
socket, a device, a link to itself, a file without read permission or on a bad sector, a file that somebody is still writing.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

_OF_THIS_PROCESS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Error numbers that say nothing about the file: this process, or this machine, has too little left."""

DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Error numbers of a disk to which nothing more can be written; no other server and no later second cures them."""

_WORDS: Final = {
    errno.ENOENT: "there is no such file, or it is a link that leads nowhere",
    errno.ELOOP: "a link that leads back to itself",
}


class NotAFile(OSError):
    """What is behind a path is not a file to read, or not all of it can be read now; `strerror` is the reason in words."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(errno.EINVAL, reason, str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def open_file(path: Path | str, *, most: int | None = None, links: bool = True) -> io.FileIO:
    """Open a regular file for reading, without buffer. Nothing else is ever opened: that of a FIFO waits, of a device may act.

    Args:
        path: where it is.
        most: the largest size in bytes; None for any.
        links: whether a link is followed. Links among the folders above the file are.

    Raises:
        NotAFile: it is something else, or larger.
        OSError: it is missing or cannot be read.
    """
    # A descriptor that only names what is there, then the file itself by that name: in between nobody can exchange it.
    pinned = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
    try:
        _require(path, os.fstat(pinned), most)
        descriptor = _reopened(pinned, path)
    finally:
        os.close(pinned)
    return io.FileIO(descriptor, "rb")


def read_file(path: Path | str, *, most: int, links: bool = True) -> bytes:
    """Return the content of a regular file. Parameters and errors are those of `open_file`.

    Also raises NotAFile when the file becomes longer or shorter while it is read.
    """
    with open_file(path, most=most, links=links) as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:  # also those under /proc and /sys, some of which wait or have no end
            return b""
        content = file.read(size + 1)
        while len(content) < size and (more := file.read(size + 1 - len(content))):
            content += more
        if len(content) != size:
            raise NotAFile(path, "it changed while it was being read")
        return content


def require_file(path: Path | str, *, most: int | None = None) -> None:
    """Raise what `open_file` raises of a path that is not a regular file, for a library that opens it by its name."""
    _require(path, os.stat(path), most)


def reason_of(error: OSError) -> str:
    """Return why a file is not read, in words. Raises the error itself where it is not the file's."""
    if error.errno in _OF_THIS_PROCESS:
        raise error
    if isinstance(error, NotAFile):
        return str(error.strerror)
    return _WORDS.get(error.errno or 0, f"it cannot be read ({error.strerror or error})")


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error, or one that it came from, says that nothing more can be written to this machine's disk."""
    return any(isinstance(one, OSError) and one.errno in DISK_FULL for one in causes(error))


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came from."""
    one: BaseException | None = error
    seen: list[BaseException] = []
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def kind_of(mode: int) -> str:
    """Return what the mode of something that is not a file says that it is, in words."""
    return next((name for is_kind, name in _KINDS if is_kind(mode)), "something unknown")


def set_aside(path: Path) -> Path | None:
    """Give a folder that is in the place of a file of ours another name, which is returned; None where no folder is there.

    Nothing in it is lost, and the file can be written.
    """
    if not path.is_dir() or path.is_symlink():
        return None
    names = (path.with_name(f"{path.name}.set-aside-{number}") for number in range(1, 1000))
    other = next(name for name in names if not os.path.lexists(name))
    path.rename(other)
    return other


def _require(path: Path | str, state: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(state.st_mode):
        raise NotAFile(path, f"{kind_of(state.st_mode)}, not a file")
    if most is not None and state.st_size > most:
        raise NotAFile(path, f"{state.st_size:,} bytes; expected at most {most:,}")


def _reopened(pinned: int, path: Path | str) -> int:
    try:
        return os.open(f"/proc/self/fd/{pinned}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
