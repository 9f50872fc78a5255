from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import pytest

from skinlesion.foundation.workers import CHUNK, INLINE_UP_TO, spread


def later_first(number: int) -> int:
    time.sleep(0.0005 * (7 - number % 8))
    return number * number


@pytest.mark.parametrize("count", [0, 1, 2, INLINE_UP_TO, INLINE_UP_TO + 1, 200])
@pytest.mark.parametrize("workers", [1, 3])
def test_threads_give_results_in_the_items_order(count: int, workers: int) -> None:
    assert list(spread(later_first, range(count), workers=workers, kind="threads")) == [n * n for n in range(count)]


def test_threads_work_at_the_same_time() -> None:
    barrier = threading.Barrier(3, timeout=10)
    # With fewer than three threads at work the barrier breaks.
    assert len(list(spread(lambda _: barrier.wait(), range(3 * CHUNK), workers=3, kind="threads"))) == 3 * CHUNK


@pytest.mark.parametrize("workers", [1, 2])
def test_an_unbounded_stream_is_taken_a_bounded_way_ahead(workers: int) -> None:
    taken = 0

    def stream() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = spread(lambda number: number, stream(), workers=workers, kind="threads")
    assert isinstance(results, Generator)
    for wanted in range(1, 2001):
        assert next(results) == wanted
        assert taken - wanted <= INLINE_UP_TO + 1 + 4 * workers * CHUNK
    results.close()


@pytest.mark.parametrize(("workers", "kind"), [(1, "threads"), (2, "threads"), (2, "processes")])
def test_an_error_reaches_the_caller_after_the_results_before_it(
    workers: int, kind: Literal["threads", "processes"]
) -> None:
    items = [*map(str, range(40)), "forty", *map(str, range(41, 100))]
    results = spread(int, items, workers=workers, kind=kind)
    seen: list[int] = []
    with pytest.raises(ValueError, match="forty"):
        seen.extend(iter(lambda: next(results), None))
    assert seen == list(range(len(seen)))
    assert len(seen) >= 40 - CHUNK
    assert list(results) == []


FOR_EVER = """
import os, time
from skinlesion.foundation.workers import spread
def work(number):
    print(os.getpid(), flush=True)
    time.sleep(60)
list(spread(work, range(100), workers=2, kind="processes"))
"""


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_workers_end_when_the_process_that_started_them_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", FOR_EVER], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        workers = {int(parent.stdout.readline()) for _ in range(2)}
        assert parent.pid not in workers
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [pid for pid in workers if is_running(pid)] == []


def test_a_daemon_may_start_processes_as_a_task_of_a_celery_worker_must() -> None:
    script = """
import multiprocessing
from skinlesion.foundation.workers import spread

multiprocessing.current_process().daemon = True
print(sum(spread(abs, range(-60, 0), workers=2, kind="processes")))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{sum(range(61))}\n", done.stderr
