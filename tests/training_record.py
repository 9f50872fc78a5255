"""A complete training.json for candidates that tests write by hand."""

from __future__ import annotations

from typing import Any

from skinlesion.data.labels.classes import LABELS
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.training_record import TrainingRecord


def write_training_record(candidate: Candidate, **changed: Any) -> None:
    """Write the record of a candidate's files as they are now, with these fields changed."""
    training_record(candidate.run, **{"sha256": candidate.digests()} | changed).write(candidate.training)


def training_record(run: str, **changed: Any) -> TrainingRecord:
    """Return a record with these fields changed."""
    fields = {
        "run": run,
        "origin": {"training_version": 1, "settings": "settings", "built": "built"},
        "warm_start": None,
        "settings": {"epochs": 2, "seed": 1},
        "training_version": f"trained on {run}",
        "weights_key": "weights",
        "classes": LABELS,
        "images": 8,
        "lesions": 8,
        "inner_fold": {"images": 2, "lesions": 2},
        "class_weights": dict.fromkeys(LABELS, 1.0),
        "history": [{"phase": "head", "epoch": n, "loss": 1.0 / n, "val_balanced_accuracy": n / 4} for n in (1, 2)],
        "warnings": [],
        "packages": {"keras": "3"},
        "git_revision": "f00d",
        "sha256": {},
    }
    return TrainingRecord.model_validate(fields | changed)
