"""The model in service: which one it is, and how a reader gets files that belong together.

models/in_service is a symbolic link to a release: a folder with the model's files and their record, which never changes.
A promotion makes another release and moves the link by one rename, so whoever looks finds the old files or the new ones,
also after a kill -9 between any two steps. The names that users know, skin_lesion_classifier_trained.h5, .tflite and .json,
are links through it. Who reads more than one file follows the link once (`read`) and reads from the folder that it found.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skinlesion.foundation import layout
from skinlesion.registry import model_files
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry

H5: Final = model_files.H5
TFLITE: Final = model_files.TFLITE
RECORD: Final = model_files.RECORD
NAMES: Final = (H5, TFLITE, RECORD)
"""The files of a release that also have a name directly under models/."""


@dataclass(frozen=True)
class InService:
    """What is in service, as its record says; `is_whole` tells whether the files are what the record says.

    Attributes:
        folder: the release: h5, tflite, and what the decision rule needs.
        run: name of the candidate.
        version: its number; None for a model that was put there without the registry.
        sha256: of each file of the folder, by name.
        decision_rule: how probabilities become a decision; None for a model without.
        since: when it came into service, ISO 8601, UTC.
        actor, reason: who put it there, and why.
        switch: number of the switch, 1, 2, ...
        entry: the switch as the history has it.
    """

    folder: Path
    run: str
    version: int | None
    sha256: dict[str, str]
    decision_rule: dict[str, Any] | None
    since: str
    actor: str
    reason: str
    switch: int
    entry: HistoryEntry | None

    @property
    def h5(self) -> Path:
        """The model as the recipe's users know it."""
        return self.folder / H5

    @property
    def tflite(self) -> Path:
        """The same as LiteRT runs it."""
        return self.folder / TFLITE

    def is_whole(self) -> bool:
        """Tell whether every file is there and is what it was. Reads them all, some 30 MB."""
        try:
            return all(digest(self.folder / name) == expected for name, expected in self.sha256.items())
        except OSError:
            return False


def record_path(models: Path) -> Path:
    """Give the path of the record beside the model in service."""
    return layout.model_in_service(models).with_suffix(".json")


def read(models: Path) -> InService | None:
    """Give what is in service; None where nothing is, or its record cannot be read. Quick: reads the record alone."""
    try:
        return of_release(layout.release_in_service(models).resolve(strict=True))
    except OSError:
        return None


def of_release(folder: Path) -> InService | None:
    """Give what a release holds, in service or not; None where its record is missing or cannot be read."""
    try:
        record = json.loads((folder / RECORD).read_text())
        entry = record["entry"]
        return InService(
            folder=folder,
            run=record["run"],
            version=record["version"],
            sha256=record["sha256"],
            decision_rule=record["decision_rule"],
            since=record["since"],
            actor=record["actor"],
            reason=record["reason"],
            switch=record["switch"],
            entry=None if entry is None else HistoryEntry.of(entry),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def candidate_in_service(models: Path) -> Candidate | None:
    """Give the candidate that is in service; None when none is, or its files are not what they were."""
    now = read(models)
    if now is None or not now.is_whole():
        return None
    candidate = Candidate(layout.candidate(models, now.run))
    return candidate if candidate.read_training() is not None else None


def digest(path: Path) -> str:
    """Give a file's SHA-256, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
