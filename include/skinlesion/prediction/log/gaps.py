"""The count of answers that are not in the log. It outlives the process, however that ends, and needs no room on a full disk.

The file has its size before it is needed and is changed in memory that the system keeps (mmap): a killed process loses nothing.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import secrets
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.prediction.log.journal import taken

_FORMAT: Final = struct.Struct("<qdd")
_TRY_AGAIN: Final = 1.0


class Gap(NamedTuple):
    """Answers that are not in the log: how many, and between which times (seconds since 1970)."""

    answers: int
    first: float
    last: float


def gaps(folder: Path) -> Path:
    """Return the folder of the counts, one file a process of the server."""
    return folder / "gaps"


class GapCount:
    """The count of this process. While the disk is too full for its file it counts in memory alone."""

    def __init__(self, folder: Path) -> None:
        self._path = gaps(folder) / f"{secrets.token_hex(8)}.gap"
        self._lock = threading.Lock()
        self._gap = Gap(0, 0.0, 0.0)
        self._memory: mmap.mmap | None = None
        self._descriptor = -1
        self._tried = 0.0
        self._open()

    @property
    def count(self) -> int:
        """How many answers of this process are not in the log."""
        return self._gap.answers

    def add(self, count: int) -> None:
        """Count answers, or with a negative number take back what reached the log after all."""
        with self._lock:
            now = time.time()
            self._gap = Gap(self._gap.answers + count, self._gap.first or now, now)
            self._open()
            if self._memory is not None:
                _FORMAT.pack_into(self._memory, 0, *self._gap)

    def close(self) -> None:
        """Remove the file if nothing is missing."""
        with self._lock:
            if self._memory is not None:
                self._memory.close()
                os.close(self._descriptor)
                if not self._gap.answers:
                    self._path.unlink(missing_ok=True)

    def _open(self) -> None:
        if self._memory is not None or time.monotonic() < self._tried + _TRY_AGAIN:
            return
        self._tried = time.monotonic()
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.write(descriptor, bytes(_FORMAT.size)) != _FORMAT.size:
                    raise OSError("no room")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._memory = mmap.mmap(descriptor, _FORMAT.size)
                self._descriptor = descriptor
            except OSError:
                os.close(descriptor)
                self._path.unlink(missing_ok=True)
                raise


def read_gaps(folder: Path) -> list[Gap]:
    """Return the gaps of all processes that have any."""
    found = []
    for path in sorted(gaps(folder).glob("*.gap")):
        with suppress(FileNotFoundError):
            content = path.read_bytes()
            if len(content) == _FORMAT.size and (gap := Gap(*_FORMAT.unpack(content))).answers > 0:
                found.append(gap)
    return found


def remove_gaps(folder: Path, before: float) -> None:
    """Remove the files of processes that have ended, if they count nothing or what was before a time."""
    for path in sorted(gaps(folder).glob("*.gap")):
        with taken(path) as is_mine, suppress(FileNotFoundError):
            if is_mine:
                content = path.read_bytes()
                gap = Gap(*_FORMAT.unpack(content)) if len(content) == _FORMAT.size else Gap(0, 0, 0)
                if gap.answers <= 0 or gap.last < before:
                    path.unlink()
