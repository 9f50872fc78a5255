"""Ways in which any file comes to harm, and the pipeline's gate in a process that is watched."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

Random = np.random.Generator
Damage = Callable[[bytes, Random], bytes]


def span(content: bytes, random: Random) -> tuple[int, int]:
    start = int(random.integers(len(content)))
    return start, min(len(content), start + int(random.integers(1, max(2, len(content) // 3))))


def truncated(content: bytes, random: Random) -> bytes:
    return content[: random.integers(len(content))]


def cut_out(content: bytes, random: Random) -> bytes:
    start, end = span(content, random)
    return content[:start] + content[end:]


def bits_flipped(content: bytes, random: Random) -> bytes:
    spoiled = bytearray(content)
    for place in random.integers(len(spoiled), size=random.integers(1, 9)):
        spoiled[place] ^= 1 << int(random.integers(8))
    return bytes(spoiled)


def noise(content: bytes, random: Random) -> bytes:
    start, end = span(content, random)
    return content[:start] + random.bytes(end - start) + content[end:]


def zeros(content: bytes, random: Random) -> bytes:
    """As a file system leaves a block that was never written."""
    start, end = span(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def repeated(content: bytes, random: Random) -> bytes:
    start, end = span(content, random)
    return content[:end] + content[start:]


def inserted(content: bytes, random: Random) -> bytes:
    start = int(random.integers(len(content)))
    return content[:start] + random.bytes(int(random.integers(1, 200))) + content[start:]


def header_spoiled(content: bytes, random: Random) -> bytes:
    spoiled = bytearray(content)
    for place in random.integers(min(600, len(spoiled)), size=random.integers(1, 5)):
        spoiled[place] = random.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF])
    return bytes(spoiled)


def newlines_translated(content: bytes, random: Random) -> bytes:
    """As by a transfer in text mode."""
    return content.replace(b"\r\n", b"\n") if random.random() < 0.5 else content.replace(b"\n", b"\r\n")


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        truncated, cut_out, bits_flipped, noise, zeros, repeated, inserted, header_spoiled, newlines_translated,
    )
}  # fmt: skip


@contextmanager
def bounded(seconds: float, megabytes: float) -> Iterator[None]:
    """Fail where what is done takes more time or further memory. A busy machine makes the time longer, so leave room."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    yield
    assert time.monotonic() - start < seconds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


def watched_ingest(what: Literal["images", "tables"], dataset: Path) -> dict[str, Any]:
    """Return what ingest and resize made of a data set; see watched_ingest.py, which ends itself when something hangs."""
    script, summary = Path(__file__).with_name("watched_ingest.py"), dataset.parent / "summary.json"
    command = [sys.executable, str(script), what, str(dataset), str(summary)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "Traceback" not in done.stderr
    assert "Timeout" not in done.stderr
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(summary.read_text())
    return found
