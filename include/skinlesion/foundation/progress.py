"""Show the progress of a stage: a bar in a terminal, a log line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES: Final = 30.0
"""Seconds between two log lines: often enough to see that a task is alive, seldom enough for a readable log."""


@contextmanager
def progress(stage: str, total: int, unit: str = "images") -> Iterator[Callable[[float], None]]:
    """Provide a function to be called with the number of items just finished."""
    if total and sys.stderr.isatty():
        with _bar(stage, total) as advance:
            yield advance
    else:
        yield _log_lines(stage, total, unit)


@contextmanager
def _bar(stage: str, total: int) -> Iterator[Callable[[float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>9}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(stage, total=total)
        yield lambda count: bar.advance(task, count)


def _log_lines(stage: str, total: int, unit: str) -> Callable[[float], None]:
    done = 0.0
    last = time.monotonic()

    def advance(count: float) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            log.info("%s: %d of %d %s", stage, done, total, unit)

    return advance
