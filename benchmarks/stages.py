"""Run the pipeline stage by stage, each a process of its own, as Airflow does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.whole_process import measure
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.stages.pipeline import STAGES

NO_GATE: Final[dict[str, Any]] = {
    "gate_min_auroc": 0,
    "gate_min_sensitivity": 0,
    "gate_max_calibration_error": 1,
    "gate_balanced_accuracy_margin": 1,
    "gate_sensitivity_margin": 1,
    "change_plan": str(PROJECT_ROOT / "tests" / "change_plan.yaml"),
}
"""Here a model comes into service however good it is: later nights go on from it."""

SKINLESION = Path(sys.executable).with_name("skinlesion")


def run_stages(folder: Path, settings: dict[str, Any], stages: Iterable[str] = STAGES) -> dict[str, dict[str, Any]]:
    """Run stages on folder/dataset and folder/models; give for each what it did, its seconds and its peak memory."""
    measured = {}
    for stage in stages:
        report = folder / f"{stage}.json"
        given = [f"--set={name}={value}" for name, value in settings.items()]
        process = measure([
            SKINLESION, stage, f"--dataset={folder / 'dataset'}", f"--models={folder / 'models'}",
            f"--json={report}", "--quiet", *given,
        ])  # fmt: skip
        (said,) = json.loads(report.read_text())["stages"]
        measured[stage] = {
            "seconds": round(process.seconds, 2),
            "peak_mb": process.peak_mb,
            "seen": said["seen"],
            "done": said["done"],
            "images_per_second": round(said["done"] / process.seconds, 1),
            "own_seconds": said["seconds"],
            "run": said["details"].get("run"),
        }
    return measured


def total(measured: dict[str, dict[str, Any]]) -> float:
    """Give the seconds of all stages."""
    return round(sum(float(stage["seconds"]) for stage in measured.values()), 2)


def quality(folder: Path, measured: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Give what evaluate found on the held-out lesions."""
    metrics = json.loads((folder / "models" / "candidates" / measured["train"]["run"] / "metrics.json").read_text())
    return {name: round(metrics[name], 4) for name in ("balanced_accuracy", "malignant_auroc")}
