"""The first run on a data set and the night after it, beside the plain recipe on the same images and weights."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.datasets import add_images, part_of
from benchmarks.stages import NO_GATE, quality, run_stages, total
from benchmarks.whole_process import python
from skinlesion.data.manifest import held_out_rows, read_manifest

RECIPE_EPOCHS = 20
NEW_IMAGES = 0.01  # of a data set, the night after
QUICK = {"cut": "block_12_add", "stored_ways": 1, "epochs": 6}
"""Fine-tuning in a hurry: fewer layers, one way to lay a picture, fewer epochs."""


def first_run(source: Path, weights: str, images: int, recipe_epochs: int, quality_epochs: int) -> dict[str, Any]:
    """Measure the recipe, then the pipeline with its defaults, in a hurry, with fine_tune=none; then a night with 1 % more.

    The recipe runs for `recipe_epochs`; an epoch is as long as the next, so its 20 are told from these. Its quality is
    that of another run, which leaves the held-out lesions out and takes `quality_epochs`; 0 leaves that run out.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        count = part_of(source, folder / "tail" / "dataset", images)
        part_of(source, folder / "quick" / "dataset", images)
        part_of(source, folder / "none" / "dataset", images)
        settings = {"weights": weights, "copies": 1} | NO_GATE
        tail = run_stages(folder / "tail", settings)
        quick = run_stages(folder / "quick", settings | QUICK)
        none = run_stages(folder / "none", settings | {"fine_tune": "none"})
        result: dict[str, Any] = {
            "images": count,
            "tail": {"stages": tail, "seconds": total(tail), "quality": quality(folder / "tail", tail)},
            "quick": {"stages": quick, "seconds": total(quick), "quality": quality(folder / "quick", quick)},
            "none": {"stages": none, "seconds": total(none), "quality": quality(folder / "none", none)},
        }
        held_out = held_out_rows(read_manifest(folder / "tail" / "dataset"))
        (folder / "held_out.json").write_text(json.dumps(dict(zip(held_out["image"], held_out["label"], strict=True))))
        result["recipe"] = _recipe(folder, weights, recipe_epochs, quality_epochs)

        add_images(folder / "tail" / "dataset", round(NEW_IMAGES * count))
        night = run_stages(folder / "tail", settings | {"warm_start": "true"})
        again = run_stages(folder / "tail", settings | {"warm_start": "true"})
        result["next_night"] = {
            "new_images": round(NEW_IMAGES * count),
            "stages": night,
            "seconds": total(night),
            "quality": quality(folder / "tail", night),
        }
        result["nothing_new"] = {"stages": again, "seconds": total(again)}
    recipe = result["recipe"]["seconds"]
    for way in ("tail", "quick", "none", "next_night"):
        result[way]["times_faster"] = round(recipe / result[way]["seconds"], 1)
    return result


def _recipe(folder: Path, weights: str, epochs: int, quality_epochs: int) -> dict[str, Any]:
    dataset = folder / "none" / "dataset"
    common: tuple[str | Path, str] = (dataset, f"--weights={'none' if weights == 'random' else weights}")
    timed = python("benchmarks.plain_recipe", *common, folder / "recipe", f"--epochs={epochs}")
    said = json.loads(timed.output.splitlines()[-1])
    # The first epoch compiles; the ones that were not run are as long as the shortest that was.
    missing = (RECIPE_EPOCHS - epochs) * min(said["epoch_seconds"])
    result = {
        "seconds": round(timed.seconds + missing, 1),
        "epochs_run": epochs,
        "epoch_seconds": said["epoch_seconds"],
        "peak_mb": timed.peak_mb,
        "val_accuracy": said["val_accuracy"],
    }
    if quality_epochs:
        scored = python(
            "benchmarks.plain_recipe", *common, folder / "scored", f"--epochs={quality_epochs}",
            f"--held-out={folder / 'held_out.json'}",
        )  # fmt: skip
        said = json.loads(scored.output.splitlines()[-1])
        result["quality"] = {name: said["held_out"][name] for name in ("balanced_accuracy", "malignant_auroc")}
        result["quality_epochs"] = quality_epochs
        result["quality_val_accuracy"] = said["val_accuracy"]
    return result
