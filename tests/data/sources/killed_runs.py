"""Runs that are killed before one of the changes that they make to a name on disk."""

from __future__ import annotations

import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence

CHANGES = ("link", "rename", "replace", "unlink")


KilledRuns = Callable[..., Iterator[bool]]
"""`killed_runs` with `most` given."""


def killed_runs(
    work: Callable[[], object],
    prepare: Callable[[], object] = lambda: None,
    at_least: int = 1,
    *,
    most: int | None = None,
) -> Iterator[bool]:
    """Run `prepare()`, and `work()` in a child process, again and again; yield whether the child was killed.

    The first child ends by itself, after no fewer than `at_least` changes of a name on disk. Each of the others is killed
    before one of its changes: before every one, or before `most` of them, the first, the last and others by chance.
    """
    prepare()
    changes = changes_of(work)
    assert changes is not None
    assert changes >= at_least
    yield False
    steps: Sequence[int] = range(1, changes + 1)
    if most is not None and most < changes:
        steps = [1, *sorted(random.Random(changes).sample(steps[1:-1], most - 2)), changes]
    for step in steps:
        prepare()
        assert changes_of(work, killed_before=step) is None
        yield True


def changes_of(work: Callable[[], object], killed_before: int | None = None) -> int | None:
    """Return how often `work()` changed a name on disk, in a child process; None where the child was killed."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            count = 0

            def counted(function: Callable[..., object]) -> Callable[..., object]:
                def call(*arguments: object, **options: object) -> object:
                    nonlocal count
                    count += 1
                    if count == killed_before:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*arguments, **options)

                return call

            for name in CHANGES:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os.write(sending, b"%d" % count)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as pipe:  # noqa: PTH123
        count_sent = pipe.read()
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        assert os.WTERMSIG(ended) == signal.SIGKILL
        return None
    assert count_sent, "the child ended with an error"
    return int(count_sent)
