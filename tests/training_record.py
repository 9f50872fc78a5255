"""A complete training.json for candidates that tests write by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.tables import write_table
from skinlesion.prediction.measurable import LEARNT_COLUMNS
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.training_record import TrainingRecord


def write_learnt(candidate: Candidate, rows: pd.DataFrame | None = None) -> None:
    """Write the table of what a candidate learnt: training rows of a manifest; one image of its own without any."""
    own = f"learnt by {candidate.run}"
    table = (
        pd.DataFrame({name: [False if name == "inner" else own] for name in LEARNT_COLUMNS}) if rows is None else rows
    )
    write_table(candidate.trained_on, table if "inner" in table else table.assign(inner=False), LEARNT_COLUMNS)


def write_training_record(candidate: Candidate, **changed: Any) -> None:
    """Write the record of a candidate's files as they are now, with these fields changed."""
    if not candidate.trained_on.is_file():
        write_learnt(candidate)
    given = {"sha256": candidate.digests(), "trained_on": sha256_of(candidate.trained_on)}
    training_record(candidate.run, **given | changed).write(candidate.training)


def training_record(run: str, **changed: Any) -> TrainingRecord:
    """Return a record with these fields changed."""
    fields = {
        "run": run,
        "origin": {"training_version": 1, "settings": "settings", "built": "built"},
        "warm_start": None,
        "settings": {"epochs": 2, "seed": 1},
        "training_version": f"trained on {run}",
        "split": None,
        "trained_on": "",
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
