"""One writer of a data set at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS: Final = 0.5


class DatasetBusy(OSError):
    """Another process works on the data set; a later retry may find it free."""


@contextmanager
def locked(dataset: Path, work: str, *, wait: float, where: str = "this data set") -> Iterator[None]:
    """Hold the lock `.<work>.lock` of a data set; whoever else wants it waits, at most `wait` seconds.

    The kernel holds it for this process, so a killed one leaves a file but no lock. Raises DatasetBusy, which names
    the process that holds it. where: what the dataset folder is called in that message.
    """
    path = dataset / f".{work}.lock"
    descriptor = _acquire(path, work, wait, where)
    try:
        yield
    finally:
        # Before the lock goes: who waits for it then finds that it holds a file without a name, and opens the new one.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, work: str, wait: float, where: str) -> int:
    deadline = time.monotonic() + wait
    is_told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            left = deadline - time.monotonic()
            if left <= 0:
                raise DatasetBusy(
                    f"{path.parent}: another {work} works on {where} ({holder}); waited {wait:g} s for it. "
                    "Let it finish, or stop it"
                ) from None
            if not is_told:
                log.info("Waiting for another %s of %s (%s)", work, path.parent, holder)
                is_told = True
            time.sleep(min(_SECONDS_BETWEEN_LOOKS, left))
            continue
        if _is_named(descriptor, path):
            _sign(descriptor)
            return descriptor
        os.close(descriptor)


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since}\n".encode(), 0)
