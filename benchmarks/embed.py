"""Embed beside LiteRT on images that are in memory already: what reading, decoding and storing cost."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import part_of
from benchmarks.stages import run_stages
from benchmarks.whole_process import python
from skinlesion.data.images.orientation import ORIENTATIONS, oriented
from skinlesion.data.manifest import read_manifest, training_rows
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.workers import spread
from skinlesion.network.litert import LiteRTModel, OneForEachThread

BEFORE = ("ingest", "resize", "augment", "organize", "build", "embed")


def embed(source: Path, weights: str, images: int, repeats: int) -> dict[str, Any]:
    """Measure images per second, medians; the first run of embed converts the network and is not counted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        part_of(source, folder / "dataset", images)
        settings = {"weights": weights, "copies": 1, "stored_ways": ORIENTATIONS}
        run_stages(folder, settings, BEFORE)
        in_memory, stage, process = [], [], []
        measured: dict[str, Any] = {}
        for _ in range(repeats):
            in_memory.append(json.loads(python("benchmarks.embed", folder).output.splitlines()[-1]))
            measured = run_stages(folder, settings | {"force": "true"}, ["embed"])["embed"]
            stage.append(measured["done"] / measured["own_seconds"])
            process.append(measured["images_per_second"])
    rates = {
        "in_memory": round(statistics.median(in_memory), 1),
        "stage": round(statistics.median(stage), 1),
        "process": round(statistics.median(process), 1),
    }
    return {
        "files": measured["done"],
        "images_per_second": rates,
        "share_of_litert": round(rates["stage"] / rates["in_memory"], 3),
        "share_with_start": round(rates["process"] / rates["in_memory"], 3),
    }


def _in_memory(folder: Path) -> float:
    """Give the images per second of the frozen part alone: an interpreter a core, as embed has."""
    (frozen,) = layout.features(folder / "dataset").glob("*/frozen_part.tflite")
    rows = training_rows(read_manifest(folder / "dataset"))
    images = [file.read() for file in view_files(folder / "dataset", rows)]
    models = OneForEachThread(lambda: LiteRTModel(frozen))

    def run(image: Any) -> float:
        return sum(float(models.get()(oriented(image, way)).astype(np.float16)[0, 0, 0]) for way in range(ORIENTATIONS))

    start = time.perf_counter()
    sum(spread(run, images, workers=cores_allowed(), kind="threads"))
    return len(images) / (time.perf_counter() - start)


if __name__ == "__main__":
    print(json.dumps(_in_memory(Path(sys.argv[1]))))  # noqa: T201
