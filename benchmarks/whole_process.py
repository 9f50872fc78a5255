"""Run a command as a process of its own and tell how long it took and how much memory it had at most."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOK_EVERY = 0.1  # seconds; reading a table of a million rows takes longer than this
MB = 1_000_000


@dataclass(frozen=True)
class Measured:
    """A process from its start to its end. `peak_mb` in millions of bytes, of it and all its children together."""

    seconds: float
    peak_mb: int
    output: str


def measure(command: Sequence[str | Path]) -> Measured:
    """Run the command. Raises RuntimeError with the end of its output when it fails."""
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=subprocess.STDOUT)
        peak = _Peak(process.pid)
        peak.start()
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        seconds = time.perf_counter() - start
        peak.end()
        output.seek(0)
        text = output.read()
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-4000:]}")
    return Measured(seconds, peak.value // MB, text)


def python(module: str, *arguments: str | Path) -> Measured:
    """Run a module of this project in a fresh Python."""
    return measure([sys.executable, "-m", module, *arguments])


class _Peak(threading.Thread):
    """The most memory that a process and its children had at once, in bytes.

    Memory that processes share (a library, a forked page) is counted once: the sum of the proportional set sizes.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.value = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            try:
                process = psutil.Process(self._pid)
                self.value = max(self.value, sum(map(_bytes, [process, *process.children(recursive=True)])))
            except psutil.Error:
                continue  # ended between two calls

    def end(self) -> None:
        self._ended.set()
        self.join()


def _bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
