"""The model in service: which one it is, and how a reader finds files that belong together.

models/in_service is a symbolic link to a release: a folder with the model's files and their record, which never changes.
A promotion makes another release and moves the link by one rename, so a reader finds the old files or the new ones,
also after a kill -9 between any two steps. The names that users know, skin_lesion_classifier_trained.h5, .tflite and .json,
are links through it. Whoever reads more than one file follows the link once (`read`) and reads from the folder found.

Only where there is no such link nothing is in service. A link that leads nowhere, and a release whose record or file is
missing or altered, is a DataError that names it: no model answers without its decision rule and unchecked.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, JsonValue, computed_field

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import H5, RECORD, RULE_FILE, TFLITE

log = logging.getLogger(__name__)

NEEDED: Final = frozenset({H5, TFLITE, RULE_FILE})
"""Files without which a release does not answer."""

REMEDY: Final = (
    "`skinlesion models rollback --to VERSION --reason ...` puts a version that was in service there anew, whatever is "
    "damaged. If none of them is left, remove the link models/in_service, and `skinlesion models promote` takes any."
)


def _of_each_file(sha256: dict[str, str]) -> dict[str, str]:
    if missing := NEEDED - sha256.keys():
        raise ValueError(f"expected the SHA-256 of {', '.join(sorted(missing))} too")
    if strange := next((name for name in sha256 if Path(name).name != name), None):
        raise ValueError(f"expected plain names of files, not {strange!r}")
    return sha256


class InService(Record):
    """What is in service: the record of its release, and the folder that it was read from.

    Attributes:
        run: name of the candidate.
        sha256: of each file of the folder, by name.
        decision_rule: how probabilities become a decision, as the file of that name has it.
        entry: the switch that put it there, as the history has it.
        folder: the release with h5, tflite and what the decision rule needs; not stored.
    """

    remedy: ClassVar[str] = REMEDY

    run: str
    sha256: Annotated[dict[str, str], AfterValidator(_of_each_file)]
    decision_rule: dict[str, JsonValue]
    entry: HistoryEntry
    folder: Path = Field(default=Path(), exclude=True)

    @computed_field
    @property
    def version(self) -> int:
        """Number of the version."""
        return self.entry.version

    @property
    def h5(self) -> Path:
        """The model as the recipe's users know it."""
        return self.folder / H5

    @property
    def tflite(self) -> Path:
        """The same as LiteRT runs it."""
        return self.folder / TFLITE

    def candidate(self, models: Path) -> Candidate | None:
        """Return the candidate that it was made from; None if that is gone, altered, or was trained again to another model.

        Raises DataError if the candidate's record does not fit.
        """
        candidate = Candidate(layout.candidate(models, self.run))
        training = candidate.read_training()
        return candidate if training is not None and training.sha256.get(H5) == self.sha256[H5] else None

    def verified(self, name: str) -> bytes:
        """Return the content of a file. Raises DataError if it is missing or not what was put in service."""
        path, expected = self.folder / name, self.sha256[name]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} of version {self.version} cannot be read ({error.strerror}). {REMEDY}") from error
        if (found := sha256_of(content)) != expected:
            raise DataError(
                f"{path} of version {self.version} was altered: its SHA-256 is {found}, expected {expected} as it was put in "
                f"service. {REMEDY}"
            )
        if name == RULE_FILE and json.loads(content) != self.decision_rule:
            raise DataError(f"{self.folder / RECORD} was altered: its decision rule is not that of {path}. {REMEDY}")
        return content

    def require_whole(self) -> None:
        """Raise DataError if a file is missing or was altered. Reads them all, some 30 MB."""
        for name in self.sha256:
            self.verified(name)

    def is_whole(self) -> bool:
        """Return whether every file is there and unaltered. Reads them all, some 30 MB."""
        try:
            self.require_whole()
        except DataError:
            return False
        return True


def read(models: Path) -> InService | None:
    """Return what is in service, None if nothing is. Quick: only the record is read.

    Raises DataError if the link does not lead to a release, or its record is missing or does not fit.
    """
    link = layout.release_in_service(models)
    try:
        target = link.readlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(
            f"{link}: expected the link of a promotion to a folder of releases/, found something else ({error.strerror}). "
            f"{REMEDY}"
        ) from error
    try:
        folder = link.resolve(strict=True)
        is_release = folder.is_dir() and folder.parent == layout.releases(models).resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        reason = error.strerror if isinstance(error, OSError) else "it leads back to itself"
        raise DataError(f"{link} leads to {target}, where there is no release ({reason}). {REMEDY}") from error
    if not is_release:
        raise DataError(f"{link} leads to {target}; expected a folder of {layout.releases(models)}. {REMEDY}")
    return of_release(folder)


def of_release(folder: Path) -> InService:
    """Return what a release holds, in service or not. Raises DataError if its record is missing or does not fit."""
    try:
        record = InService.read(folder / RECORD)
    except OSError as error:
        raise DataError(f"{folder / RECORD} cannot be read ({error.strerror}). {REMEDY}") from error
    if folder.name.isdigit() and record.entry.switch != int(folder.name):
        raise DataError(f"{folder / RECORD} is that of another release: its switch is {record.entry.switch}. {REMEDY}")
    return record.model_copy(update={"folder": folder})


def of_file(model: Path) -> InService | None:
    """Return the release that a model's file lies in, each of its files verified; None for a file of no release.

    Raises DataError if the record is missing or does not fit, or a file was altered.
    """
    try:
        folder = model.resolve().parent
    except (OSError, RuntimeError):  # a link that leads back to itself; who opens the file says so
        return None
    if folder.parent.name != layout.releases(folder).name and not os.path.lexists(folder / RECORD):
        return None
    release = of_release(folder)
    release.require_whole()
    return release


def releases(models: Path) -> tuple[InService, ...]:
    """Return the releases whose records can be read, in the order of their switches; those of killed switches too."""
    found = []
    with suppress(OSError):
        for folder in layout.releases(models).iterdir():
            if folder.name.isdigit() and folder.is_dir() and not folder.is_symlink():
                with suppress(DataError):
                    found.append(of_release(folder))
    return tuple(sorted(found, key=lambda release: release.entry.switch or 0))


def candidate_in_service(models: Path) -> Candidate | None:
    """Return the candidate that is in service; None if none is or its files are not those that were put there."""
    now = read(models)
    if now is None:
        return None
    candidate = now.candidate(models)
    if candidate is None or not now.is_whole():
        log.warning(
            "Files of version %d, which is in service, are missing or altered, so nothing is compared with it "
            "and no training goes on from it",
            now.version,
        )
        return None
    return candidate
