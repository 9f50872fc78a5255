"""The model in service: which one it is, and how a reader finds files that belong together.

models/in_service is a symbolic link to a release: a folder with the model's files and their record, which never changes.
A promotion makes another release and moves the link by one rename, so a reader finds the old files or the new ones,
also after a kill -9 between any two steps. The names that users know, skin_lesion_classifier_trained.h5, .tflite and .json,
are links through it. Whoever reads more than one file follows the link once (`read`) and reads from the folder found.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, JsonValue, computed_field

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.record import Record
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import H5, RECORD, TFLITE


class InService(Record):
    """What is in service: the record of its release, and the folder that it was read from.

    Attributes:
        run: name of the candidate.
        sha256: of each file of the folder, by name.
        decision_rule: how probabilities become a decision; None for a model without.
        entry: the switch that put it there, as the history has it.
        folder: the release with h5, tflite and what the decision rule needs; not stored.
    """

    remedy: ClassVar[str] = (
        "Remove the folder that holds it, then put the version in service again with `skinlesion models promote`."
    )

    run: str
    sha256: dict[str, str]
    decision_rule: dict[str, JsonValue] | None
    entry: HistoryEntry
    folder: Path = Field(default=Path(), exclude=True)

    @computed_field
    @property
    def version(self) -> int:
        """Number of the version."""
        return self.entry.version

    @computed_field
    @property
    def since(self) -> str:
        """When it came into service, ISO 8601, UTC."""
        return self.entry.at

    @computed_field
    @property
    def actor(self) -> str:
        """Who put it there."""
        return self.entry.actor

    @computed_field
    @property
    def reason(self) -> str:
        """Why it was put there."""
        return self.entry.reason

    @computed_field
    @property
    def switch(self) -> int | None:
        """Number of the switch, 1, 2, ..."""
        return self.entry.switch

    @property
    def h5(self) -> Path:
        """The model as the recipe's users know it."""
        return self.folder / H5

    @property
    def tflite(self) -> Path:
        """The same as LiteRT runs it."""
        return self.folder / TFLITE

    def is_whole(self) -> bool:
        """Return whether every file is there and unaltered. Reads them all, some 30 MB."""
        try:
            return all(sha256_of(self.folder / name) == expected for name, expected in self.sha256.items())
        except OSError:
            return False


def read(models: Path) -> InService | None:
    """Return what is in service, None if nothing is. Quick: only the record is read.

    Raises DataError if the record does not fit.
    """
    return of_release(layout.release_in_service(models).resolve())


def of_release(folder: Path) -> InService | None:
    """Return what a release holds, in service or not; None without a record. Raises DataError if that does not fit."""
    try:
        record = InService.read(folder / RECORD)
    except OSError:
        return None
    return record.model_copy(update={"folder": folder})


def candidate_in_service(models: Path) -> Candidate | None:
    """Return the candidate that is in service; None if none is or its files were altered."""
    now = read(models)
    if now is None or not now.is_whole():
        return None
    candidate = Candidate(layout.candidate(models, now.run))
    return candidate if candidate.read_training() is not None else None
