"""Peak memory of each stage on few and on many images, and of training with three copies an image."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.datasets import part_of
from benchmarks.stages import run_stages

FEW = 1000


def memory(source: Path, weights: str) -> dict[str, Any]:
    """Run every stage on 1,000 images and on all, with one copy and three; training takes one epoch each of its two."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for images in (FEW, 0):
            folder = Path(name) / str(images)
            count = part_of(source, folder / "dataset", images)
            settings = {"weights": weights, "epochs": 1, "head_epochs": 1}
            one = run_stages(folder, settings | {"copies": 1})
            three = run_stages(folder, settings | {"copies": 3}, ("augment", "organize", "embed", "train"))
            result[str(count)] = {
                "one_copy": {stage: figures["peak_mb"] for stage, figures in one.items()},
                "three_copies": {stage: figures["peak_mb"] for stage, figures in three.items()},
            }
    return result
