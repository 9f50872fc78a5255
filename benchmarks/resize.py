"""Resize beside the plain cv2 loop, and beside what decoding alone costs."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.datasets import at_size
from benchmarks.stages import run_stages
from benchmarks.whole_process import python
from skinlesion.data.images.file import decode, read_header
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import layout


def resize(source: Path, images: int, side: int | None, repeats: int) -> dict[str, Any]:
    """Measure JPEGs of side x side pixels, or of their own size, made from those of a data set; medians of whole processes."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        at_size(source, folder / "dataset", images, side)
        run_stages(folder, {}, ["ingest"])
        seconds: dict[str, list[float]] = {"plain_loop": [], "resize": [], "decode_alone": []}
        for _ in range(repeats):
            seconds["plain_loop"].append(python("benchmarks.resize", "plain_loop", folder).seconds)
            seconds["decode_alone"].append(python("benchmarks.resize", "decode_alone", folder).seconds)
            for made in (layout.processed(folder / "dataset"), layout.tables(folder / "dataset", "resize")):
                shutil.rmtree(made, ignore_errors=True)
            os.sync()  # what the others wrote is not for resize to wait for
            measured = run_stages(folder, {}, ["resize"])
            seconds["resize"].append(measured["resize"]["seconds"])
    median = {way: round(statistics.median(values), 2) for way, values in seconds.items()}
    return {
        "images": images,
        "side": side,
        "seconds": median,
        "times_plain_loop": round(median["plain_loop"] / median["resize"], 2),
        "times_decode_alone": round(median["resize"] / median["decode_alone"], 2),
    }


def _plain_loop(folder: Path) -> None:
    """Do what the plain recipe does, one image at a time."""
    target = folder / f"plain-{time.monotonic_ns()}"
    target.mkdir()
    for path in sorted((folder / "dataset" / "images").glob("*.jpg")):
        pixels = cv2.imread(str(path))
        assert pixels is not None
        cv2.imwrite(str(target / path.name), cv2.resize(pixels, (IMAGE_SIDE, IMAGE_SIDE)))


def _decode_alone(folder: Path) -> None:
    """Decode as resize does, with the same reduction, on as many threads as there are cores, and throw it away."""

    def one(path: Path) -> int:
        content = path.read_bytes()
        return int(np.prod(decode(content, read_header(content), IMAGE_SIDE).shape))

    cv2.setNumThreads(1)
    with ThreadPoolExecutor() as pool:
        sum(pool.map(one, sorted((folder / "dataset" / "images").glob("*.jpg"))))


_WAYS: dict[str, Callable[[Path], None]] = {"plain_loop": _plain_loop, "decode_alone": _decode_alone}

if __name__ == "__main__":
    _WAYS[sys.argv[1]](Path(sys.argv[2]))
