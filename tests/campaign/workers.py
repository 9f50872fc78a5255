"""The worker processes of a campaign: one at work, and a second one where two work at the same time."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

Order = dict[str, Any]

PROJECT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 600
"""What takes longer than this hangs."""


def trace_of(process: int) -> Path:
    """Return the file in which a worker says where it was when it was ended by SIGABRT."""
    return Path(tempfile.gettempdir()) / f"campaign-{process}.trace"


class Worker:
    """A worker process, which is ready when it has said so. Where it is killed another is forked in its place."""

    def __init__(self, plant: str = "") -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
        paths = [str(PROJECT / "include"), str(PROJECT)]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "GIT_REVISION": "campaign", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.worker", plant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
            env=environment,
            start_new_session=True,  # the process that obeys is a child of this one, and ends with it
        )
        self.is_ready = False
        self._rest = b""

    def order(self, order: Order, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Give an order and return its outcome; hand on each acknowledgement before it."""
        self.send(order)
        return self.outcome(say)

    def send(self, order: Order) -> None:
        """Give an order."""
        if not self.is_ready and self._line(SECONDS) is None:
            raise RuntimeError("A worker did not start; run `python -m tests.campaign.worker ''` to see why.")
        self.is_ready = True
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def outcome(self, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Wait for the outcome of the order that was sent."""
        while True:
            said = self._line(SECONDS)
            if said is None:
                raise RuntimeError("A worker ended with an order; run `python -m tests.campaign.worker ''` to see why.")
            if "outcome" in said:
                return said
            say(said)

    def end(self) -> None:
        """End the process."""
        self._signal(signal.SIGKILL)
        trace_of(self.process.pid).unlink(missing_ok=True)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _signal(self, number: int) -> None:
        """End the process and its child."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait()

    def _line(self, seconds: float) -> Order | None:
        assert self.process.stdout is not None
        descriptor, until = self.process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self._signal(signal.SIGABRT)
                trace = path.read_text() if (path := trace_of(self.process.pid)).is_file() else "not even ready"
                self.end()
                return {
                    "outcome": "hang",
                    "message": f"no answer in {seconds:g} s",
                    "trace": trace,
                    "cpu": 0.0,
                    "steps": 0,
                    "happened": "",
                }
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                self.end()
                return None
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        said: Order = json.loads(line)
        return said


class Workers:
    """A worker, and a second one from when it is needed."""

    def __init__(self, plant: str = "") -> None:
        """Start the first one, with a bug of planted_bugs.py if one is named."""
        self.plant = plant
        self.started = 0
        self._workers = [self._new()]

    def order(self, order: Order, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Let the first worker obey an order; replace it if it hung."""
        outcome = self._workers[0].order(order, say)
        if self._workers[0].process.poll() is not None:
            self._workers[0] = self._new()
        return outcome

    def both(self, order: Order, say: Callable[[Order], None]) -> list[Order]:
        """Let two workers obey the same order at the same time."""
        if len(self._workers) == 1:
            self._workers.append(self._new())
        for worker in self._workers:
            worker.send(order)
        return [worker.outcome(say) for worker in self._workers]

    def end(self) -> None:
        """End them."""
        for worker in self._workers:
            worker.end()

    def _new(self) -> Worker:
        self.started += 1
        return Worker(self.plant)
