"""The model in service: which candidate it is, and how another takes its place."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from skinlesion import atomic, layout
from skinlesion.candidate import Candidate


def record_path(models: Path) -> Path:
    """Give the path of the record beside the model in service."""
    return layout.model_in_service(models).with_suffix(".json")


def candidate_in_service(models: Path) -> Candidate | None:
    """Give the candidate that is in service; None when none is, or its files are not what they were."""
    try:
        record = json.loads(record_path(models).read_text())
        content = layout.model_in_service(models).read_bytes()
        candidate = Candidate(layout.candidate(models, record["run"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_whole = hashlib.sha256(content).hexdigest() == record.get("sha256")
    return candidate if is_whole and candidate.read_training() is not None else None


def put_in_service(models: Path, candidate: Candidate) -> bool:
    """Make the candidate the model in service; tell whether anything changed."""
    content = candidate.h5.read_bytes()
    record = {"run": candidate.run, "sha256": hashlib.sha256(content).hexdigest()}
    changed = atomic.write_if_changed(layout.model_in_service(models), content)
    return atomic.write_if_changed(record_path(models), json.dumps(record, indent=1).encode()) or changed
