"""The worker processes of a campaign: one at work, one warm beside it, which takes over when the first was killed."""

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
    """A worker process. It is warm when it has said that it is ready."""

    def __init__(self, plant: str = "") -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SKINLESION_")}
        paths = [str(PROJECT / "include"), str(PROJECT)]
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "GIT_REVISION": "campaign", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.campaign.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=PROJECT,
            env=environment,
        )
        self.plant = plant
        self.is_warm = False
        self._rest = b""

    def order(self, order: Order, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Give an order and return its outcome; hand on each acknowledgement before it."""
        self.send(order)
        return self.outcome(say)

    def send(self, order: Order) -> None:
        """Give an order."""
        self._warm_up()
        self._send(order)

    def outcome(self, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Wait for the outcome of the order that was sent."""
        while True:
            said = self._line(SECONDS)
            if said is None:
                return {"outcome": "killed", "cpu": 0.0, "steps": 0, "happened": "killed"}
            if "outcome" in said:
                return said
            say(said)

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        trace_of(self.process.pid).unlink(missing_ok=True)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _warm_up(self) -> None:
        if self.is_warm:
            return
        if self._line(SECONDS) is None:
            raise RuntimeError("A worker did not start; run `python -m tests.campaign.worker` to see why.")
        self.is_warm = True
        if self.plant:
            self._send({"plant": self.plant})
            self._line(SECONDS)

    def _send(self, order: Order) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def _line(self, seconds: float) -> Order | None:
        assert self.process.stdout is not None
        descriptor, until = self.process.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self.process.send_signal(signal.SIGABRT)
                self.process.wait()
                trace = trace_of(self.process.pid).read_text()
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
    """One worker at work and one warm beside it."""

    def __init__(self, plant: str = "", *, beside: bool = True) -> None:
        """Start them. With beside=False the second one starts when it is needed, which saves the time of a start."""
        self.plant = plant
        self.started = 0
        self.at_work = self._new()
        self.beside = self._new() if beside else None

    def order(self, order: Order, say: Callable[[Order], None] = lambda said: None) -> Order:
        """Let the worker at work obey an order; replace it if that was its end."""
        outcome = self.at_work.order(order, say)
        if self.at_work.process.poll() is not None:
            self.at_work = self.beside or self._new()
            self.beside = self._new() if self.beside is not None else None
        return outcome

    def both(self, order: Order, say: Callable[[Order], None]) -> list[Order]:
        """Let both workers obey the same order at the same time."""
        self.beside = self.beside or self._new()
        workers = (self.at_work, self.beside)
        for worker in workers:
            worker.send(order)
        return [worker.outcome(say) for worker in workers]

    def end(self) -> None:
        """End both."""
        self.at_work.end()
        if self.beside is not None:
            self.beside.end()

    def _new(self) -> Worker:
        self.started += 1
        return Worker(self.plant)
