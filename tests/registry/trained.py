"""A candidate as training leaves it, with contents that only say whose they are."""

from __future__ import annotations

import json
from pathlib import Path

from tests.training_record import write_training_record

from skinlesion.foundation import layout
from skinlesion.registry.candidate import Candidate


def trained(models: Path, run: str) -> Candidate:
    """Write a candidate of this name and return it."""
    candidate = Candidate(layout.candidate(models, run))
    candidate.folder.mkdir(parents=True)
    for path in candidate.models:
        path.write_bytes(f"{run} as {path.name}".encode())
    candidate.decision_rule.write_text(json.dumps({"malignant_threshold": 0.2, "of": run}))
    write_training_record(candidate)
    return candidate
