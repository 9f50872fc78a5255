"""One writer at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


class DatasetBusy(OSError):
    """Another process works on the data set; a later retry may find it free."""


@contextmanager
def locked(dataset: Path, work: str, *, wait: float, where: str = "this data set") -> Iterator[None]:
    """Hold the lock `.<work>.lock` of a data set; whoever else wants it waits, at most `wait` seconds.

    The kernel holds the lock (flock) for this process, so a killed one leaves a file but no lock. `where` is what the
    message calls the folder. Raises DatasetBusy, which names the process that holds the lock.
    """
    path = dataset / f".{work}.lock"
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("Waiting for another %s of %s (%s)", work, dataset, _holder(path))
            lock.acquire(timeout=wait, poll_interval=min(0.5, wait))
    except Timeout:
        raise DatasetBusy(
            f"{dataset}: another {work} works on {where} ({_holder(path)}); waited {wait:g} s for it. "
            "Let it finish, or stop it"
        ) from None
    try:
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        with suppress(OSError):  # only for people: a full disk does not keep the lock from being held
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {since}\n")
        yield
    finally:
        # While the lock is still held: whoever waits then finds that it holds a file without a name, and opens the new.
        # A file that stays is no lock, and a disk that fails must not keep the lock of a process that lives on.
        with suppress(OSError):
            path.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """Return who wrote the lock file, as far as it can be read."""
    with suppress(OSError):
        return path.read_text(errors="replace")[:200].strip() or "another process"
    return "another process"
