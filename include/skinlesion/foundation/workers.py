"""Run a function over many items on all cores, in order, with a bounded number in flight."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Final, Literal, TypeVar

from joblib.externals.loky import ProcessPoolExecutor

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK: Final = 8
"""Items handed to a worker at once: large enough that handing over costs nothing, small enough to spread evenly."""

INLINE_UP_TO: Final = 32
"""So few items are done in this process: starting others would take longer than the work."""

_CHUNKS_IN_FLIGHT: Final = 4  # for each worker
_SECONDS_BETWEEN_LOOKS: Final = 0.5  # at whether the parent is alive


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, kind: Literal["threads", "processes"]
) -> Iterator[Result]:
    """Give function(item) for each item, in the items' order.

    Threads suit work that releases the interpreter's lock (OpenCV, LiteRT, hashing), processes the rest. Processes are
    loky's: neither forked, since TensorFlow and OpenCV hang in a forked child once they have threads, nor started from
    this process's main program as multiprocessing's spawned ones are: in a task that would be Airflow, which refuses to
    start there.

    Work runs a bounded way ahead of whoever takes the results, finished results included. (`joblib.Parallel` with
    `return_as="generator"` bounds only what is not finished: a slow taker would fill the memory.)
    """
    iterator = iter(items)
    first = list(itertools.islice(iterator, INLINE_UP_TO + 1))
    items = itertools.chain(first, iterator)
    if workers == 1 or (kind == "processes" and len(first) <= INLINE_UP_TO) or len(first) <= 1:
        yield from map(function, items)
        return
    with _executor(kind, workers) as executor:
        yield from _in_order(executor, function, items, in_flight=_CHUNKS_IN_FLIGHT * workers)


def _executor(kind: Literal["threads", "processes"], workers: int) -> Executor:
    if kind == "threads":
        return ThreadPoolExecutor(workers)
    # A task of a Celery worker is a daemon, which Python forbids to have children lest they outlive it. These end with it.
    multiprocessing.current_process().daemon = False
    executor: Executor = ProcessPoolExecutor(workers, initializer=end_with_parent, initargs=(os.getpid(),))
    return executor


def end_with_parent(parent: int) -> None:
    """End this worker when its parent is killed; by itself it would go on, and then wait for work for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
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
