"""Every candidate as a version with a number; what was measured of it, each time that it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.registry import append_log
from skinlesion.registry.candidate import Candidate

LOCK_FILE: Final = Path(__file__).resolve().parents[3] / "uv.lock"

State = Literal["candidate", "champion", "former champion", "rejected"]
"""`champion` is in service, `former champion` was; `rejected` lost at the gate or was declined; `candidate`: the rest."""

FIGURES: Final = {
    "balanced_accuracy": "Balanced accuracy",
    "malignant_auroc": "Malignant AUROC",
    "sensitivity": "Sensitivity for malignant",
    "specificity": "Specificity",
    "expected_calibration_error": "Calibration error",
}
"""The headline of a version: names and titles, in the order of a page. Sensitivity and specificity are at the operating point."""


@dataclass(frozen=True)
class Figure:
    """A measured number with its 95 % interval; None where it is not measured."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Measurement:
    """What evaluate measured of a version, once.

    Attributes:
        at: when, ISO 8601, UTC.
        figures: by the names of `FIGURES`.
        images, lesions: how many were held out.
        held_out_version: names the held-out images; figures on other images do not compare.
    """

    at: str
    figures: dict[str, Figure]
    images: int
    lesions: int
    held_out_version: str


@dataclass(frozen=True)
class Registered:
    """A version as it was registered; never changes.

    Attributes:
        number: 1, 2, ...
        run: name of the candidate, a folder of models/candidates/.
        created: when its training ended, ISO 8601, UTC.
        sha256: of each of its model files, by name.
        training_version: names the training images.
        git_revision: of the code that trained it.
        lock_sha256: of uv.lock, which names every package; empty where there is none.
    """

    number: int
    run: str
    created: str
    sha256: dict[str, str]
    training_version: str
    git_revision: str
    lock_sha256: str = ""


def path(models: Path) -> Path:
    """Where versions and measurements lie: a line each."""
    return layout.registry(models) / "versions.jsonl"


@dataclass(frozen=True)
class KnownVersions:
    """The versions that are registered, and their measurements, oldest first."""

    registered: dict[int, Registered]
    measurements: dict[int, list[Measurement]]

    @classmethod
    def read(cls, models: Path) -> Self:
        """Read them; a line that is not whole is left out."""
        registered: dict[int, Registered] = {}
        measurements: dict[int, list[Measurement]] = {}
        for entry in append_log.read(path(models)):
            if "registered" in entry:
                version = Registered(**entry["registered"])
                registered[version.number] = version
            elif "measured" in entry:
                measurements.setdefault(entry["number"], []).append(_measurement(entry["measured"]))
        return cls(registered, measurements)

    def of(self, run: str, sha256: Mapping[str, str]) -> Registered | None:
        """Give the version of these files; None where they are not registered."""
        found = (v for v in reversed(self.registered.values()) if v.run == run and v.sha256 == sha256)
        return next(found, None)


def registered_now(known: KnownVersions, candidate: Candidate, training: dict[str, Any]) -> Registered:
    """Give a candidate the next number. training: its record."""
    ended = datetime.fromtimestamp(candidate.training.stat().st_mtime, tz=UTC)
    return Registered(
        number=max(known.registered, default=0) + 1,
        run=candidate.run,
        created=ended.isoformat(timespec="seconds"),
        sha256=training["sha256"],
        training_version=training.get("training_version", ""),
        git_revision=training.get("git_revision", "unknown"),
        lock_sha256=sha256_of(LOCK_FILE) if LOCK_FILE.is_file() else "",
    )


def append_registered(models: Path, version: Registered) -> None:
    """Add a version. The caller holds the registry's lock."""
    append_log.append(path(models), {"registered": asdict(version)})


def append_measured(models: Path, number: int, measurement: Measurement) -> None:
    """Add a measurement of a version. The caller holds the registry's lock."""
    append_log.append(path(models), {"number": number, "measured": asdict(measurement)})


def _measurement(content: dict[str, Any]) -> Measurement:
    figures = {name: Figure(**figure) for name, figure in content["figures"].items()}
    return Measurement(**{**content, "figures": figures})
