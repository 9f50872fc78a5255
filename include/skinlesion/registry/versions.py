"""Every candidate as a version with a number; what was measured of it, each time that it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

from skinlesion.data.split_version import KnownSplit, SplitVersion
from skinlesion.foundation import append_log, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import Figure
from skinlesion.registry.model_files import REGISTERED
from skinlesion.registry.training_record import TrainingRecord

LOCK_FILE: Final = Path(__file__).resolve().parents[3] / "uv.lock"

State = Literal["candidate", "champion", "former champion", "rejected"]
"""`champion` is in service, `former champion` was; `rejected` lost at the gate or was declined; `candidate`: the rest, also one
that too few lesions could judge."""

FIGURES: Final = {
    "balanced_accuracy": "Balanced accuracy",
    "malignant_auroc": "Malignant AUROC",
    "sensitivity": "Sensitivity for malignant",
    "specificity": "Specificity",
    "expected_calibration_error": "Calibration error",
}
"""The headline of a version: names and titles, in the order of a page.

Sensitivity and specificity are at the operating point."""


class Measurement(RecordPart):
    """What evaluate measured of a version, once.

    Attributes:
        at: when, ISO 8601, UTC.
        figures: by the names of `FIGURES`.
        images, lesions: how many were held out.
        held_out_version: names the held-out images; figures on other images do not compare.
        split: the split that held them out.
        warnings: sentences that a reader of the figures must know.
    """

    at: str
    figures: dict[str, Figure]
    images: int
    lesions: int
    held_out_version: str
    split: SplitVersion | None = None
    warnings: tuple[str, ...] = ()


class Registered(RecordPart):
    """A version as it was registered; never changes.

    Attributes:
        number: 1, 2, ...
        run: name of the candidate, a folder of models/candidates/.
        created: when its training ended, ISO 8601, UTC.
        sha256: of each of its model files, by name.
        training_version: names the training images.
        git_revision: of the code that trained it.
        lock_sha256: of uv.lock, which names every package; empty without one.
        split: the split that chose its training images.
    """

    number: int
    run: str
    created: str
    sha256: dict[str, str]
    training_version: str
    git_revision: str
    lock_sha256: str = ""
    split: SplitVersion | None = None


def path(models: Path) -> Path:
    """Return the path of the file that has a line for each version and for each measurement."""
    return layout.registry(models) / "versions.jsonl"


class RegisteredLine(Record):
    """The line of a version."""

    remedy: ClassVar[str] = append_log.REMEDY

    registered: Registered


class MeasuredLine(Record):
    """The line of a measurement; number: of the version."""

    remedy: ClassVar[str] = append_log.REMEDY

    number: int
    measured: Measurement


class RegisteredNumbers(Record):
    """What lies beside a candidate: each version that its folder has held, should versions.jsonl be lost."""

    versions: tuple[Registered, ...] = ()


def _of_line(line: bytes, path: Path, number: int) -> RegisteredLine | MeasuredLine:
    kind = MeasuredLine if b'"measured"' in line else RegisteredLine
    return kind.of_line(line, path, number)


@dataclass(frozen=True)
class KnownVersions:
    """The versions that are registered, and their measurements.

    Attributes:
        measured: each measurement, in the order of the file. Which of two came first is known from it alone: the times are those
            of a clock, for people.
        damage: a sentence for each line that cannot be read.
    """

    registered: dict[int, Registered]
    measured: tuple[MeasuredLine, ...] = ()
    damage: tuple[str, ...] = ()

    @classmethod
    def read(cls, models: Path) -> Self:
        """Return those under models/, as far as the file can be read."""
        lines = append_log.read(path(models), _of_line)
        registered: dict[int, Registered] = {}
        measured: list[MeasuredLine] = []
        damage = [*lines.damage]
        for entry in lines.records:
            if isinstance(entry, MeasuredLine):
                measured.append(entry)
            elif registered.setdefault(entry.registered.number, entry.registered) != entry.registered:
                number = entry.registered.number
                damage.append(
                    f"{path(models)} has two versions {number}, the candidates {registered[number].run} and "
                    f"{entry.registered.run}; expected one. {append_log.REMEDY}"
                )
        return cls(registered, tuple(measured), tuple(damage))

    @cached_property
    def measurements(self) -> dict[int, list[Measurement]]:
        """The measurements of each version that was measured, oldest first."""
        found: dict[int, list[Measurement]] = {}
        for line in self.measured:
            found.setdefault(line.number, []).append(line.measured)
        return found

    def measured_later(self, one: int, other: int) -> int:
        """Return which of two versions was measured last."""
        return next(line.number for line in reversed(self.measured) if line.number in (one, other))

    def of(self, run: str, sha256: Mapping[str, str]) -> Registered | None:
        """Return the version of these files, None if they are not registered."""
        found = (v for v in reversed(self.registered.values()) if v.run == run and v.sha256 == sha256)
        return next(found, None)


def splits_known(models: Path) -> list[KnownSplit]:
    """Return the latest split that a version was trained or measured on; none without a version.

    Raises DataError if a line of the registry does not fit.
    """
    known = KnownVersions.read(models)
    found = [(number, version.split) for number, version in known.registered.items()]
    found += [(line.number, line.measured.split) for line in known.measured]
    splits = [KnownSplit(f"version {number} of {models}", split) for number, split in found if split is not None]
    return splits and [max(splits, key=lambda one: one.version.generation)]


def registered_now(known: KnownVersions, candidate: Candidate, training: TrainingRecord) -> Registered:
    """Return a candidate with the next number. training: the candidate's record."""
    ended = datetime.fromtimestamp(candidate.training.stat().st_mtime, tz=UTC)
    return Registered(
        number=max(known.registered, default=0) + 1,
        run=candidate.run,
        created=ended.isoformat(timespec="seconds"),
        sha256=training.sha256,
        training_version=training.training_version,
        git_revision=training.git_revision,
        lock_sha256=sha256_of(LOCK_FILE) if LOCK_FILE.is_file() else "",
        split=training.split,
    )


def append_registered(models: Path, version: Registered) -> None:
    """Add a version. The caller holds the registry's lock."""
    append_log.append(path(models), RegisteredLine(registered=version))


def note_beside(candidate: Candidate, version: Registered) -> None:
    """Note a version beside its candidate, unless that was done."""
    noted = (RegisteredNumbers.read_if_there(candidate.registered) or RegisteredNumbers()).versions
    if version not in noted:
        RegisteredNumbers(versions=(*noted, version)).write(candidate.registered)


def noted_beside_candidates(models: Path) -> dict[int, Registered]:
    """Return the versions that are noted beside their candidates, by number."""
    found: dict[int, Registered] = {}
    for noted in sorted(layout.candidates(models).glob(f"*/{REGISTERED}")):
        with suppress(DataError):  # it is a copy
            found |= {version.number: version for version in RegisteredNumbers.read(noted).versions}
    return found


def append_measured(models: Path, number: int, measurement: Measurement) -> None:
    """Add a measurement of a version. The caller holds the registry's lock."""
    append_log.append(path(models), MeasuredLine(number=number, measured=measurement))
