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
"""Items handed to a worker at once: enough that handing over costs little, few enough to share the work evenly."""

INLINE_UP_TO: Final = 32
"""Up to this number of items, no processes are started: starting them would take longer than the work."""

_CHUNKS_IN_FLIGHT: Final = 4  # for each worker
_SECONDS_BETWEEN_CHECKS: Final = 0.5  # whether the parent is alive


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int, kind: Literal["threads", "processes"]
) -> Iterator[Result]:
    """Yield function(item) for each item, in the order of the items.

    Threads suit work that releases the interpreter's lock (OpenCV, LiteRT, hashing), processes the rest. The processes
    are loky's. They are not forked, since TensorFlow and OpenCV hang in the forked child of a process with threads. They do
    not import this process's main program either, as those of multiprocessing do: in a task that would be Airflow, which
    refuses to start there.

    The work is a bounded number of items ahead of the caller, finished results included. (`joblib.Parallel` with
    `return_as="generator"` bounds only unfinished work: a slow caller would fill the memory.)
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
    # A task of a Celery worker is a daemon, which Python forbids to have children so that they do not outlive it. These end with it.
    multiprocessing.current_process().daemon = False
    executor: Executor = ProcessPoolExecutor(workers, initializer=end_with_parent, initargs=(os.getpid(),))
    return executor


def end_with_parent(parent: int) -> None:
    """End this worker when its parent is killed; otherwise it would finish its work and wait for more for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_CHECKS)
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
