"""Run a function over many items on all cores, in order, with a bounded number in flight."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection
from typing import Final, Literal, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK: Final = 8
"""Items handed to a worker at once: large enough that handing over costs nothing, small enough to spread evenly."""

INLINE_UP_TO: Final = 32
"""So few items are done in this process: starting others would take longer than the work."""


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, kind: Literal["threads", "processes"]
) -> Iterator[Result]:
    """Give function(item) for each item, in the items' order.

    Threads suit work that releases the interpreter's lock (OpenCV, hashing), processes the rest. Processes are spawned,
    not forked: TensorFlow and OpenCV hang in a forked child once they have threads.
    """
    iterator = iter(items)
    first = list(itertools.islice(iterator, INLINE_UP_TO + 1))
    if workers == 1 or (kind == "processes" and len(first) <= INLINE_UP_TO) or len(first) <= 1:
        yield from map(function, itertools.chain(first, iterator))
        return
    with _executor(kind, workers) as executor:
        yield from _in_order(executor, function, itertools.chain(first, iterator), in_flight=4 * workers)


def _executor(kind: Literal["threads", "processes"], workers: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this worker when its parent is killed; by itself it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _in_order(
    executor: Executor, function: Callable[[Item], Result], items: Iterator[Item], in_flight: int
) -> Iterator[Result]:
    waiting: deque[Future[list[Result]]] = deque()
    try:
        while chunk := list(itertools.islice(items, CHUNK)):
            waiting.append(executor.submit(_apply, function, chunk))
            if len(waiting) >= in_flight:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _apply(function: Callable[[Item], Result], chunk: Sequence[Item]) -> list[Result]:
    return [function(item) for item in chunk]
