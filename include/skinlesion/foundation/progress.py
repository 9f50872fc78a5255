"""How far the work is: given to whoever watches, else a bar in a terminal and a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES: Final = 30.0
"""Seconds between two log lines: often enough to see that a task is alive, seldom enough for a readable log."""

Advance = Callable[[float], None]
"""Called with the number of items just finished."""


class Watcher(Protocol):
    """Whoever shows how far the work of this process is."""

    def watch(self, work: str, total: float, unit: str) -> AbstractContextManager[Advance]:
        """Provide the function that counts the items of one piece of work, which may be part of another one."""
        ...


_watchers: list[Watcher] = []


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Let `progress` tell this watcher, whatever thread calls it, while the context is entered."""
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)


@contextmanager
def progress(work: str, total: float, unit: str = "images") -> Iterator[Advance]:
    """Provide a function to be called with the number of items just finished."""
    if _watchers:
        with _watchers[-1].watch(work, total, unit) as advance:
            yield advance
    elif total and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(work, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _log_lines(work, total, unit)


def _log_lines(work: str, total: float, unit: str) -> Advance:
    done = 0.0
    last = time.monotonic()

    def advance(count: float) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %d of %d %s", work, done, total, unit)

    return advance
