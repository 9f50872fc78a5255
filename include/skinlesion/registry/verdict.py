"""What the gate says of a version: one line a criterion, with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, JsonValue, computed_field

from skinlesion.foundation import layout
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.registry import model_files
from skinlesion.registry.metrics_record import LeftOut


class Criterion(RecordPart):
    """One line of a verdict.

    Attributes:
        name: as its setting without `gate_`, for example `sensitivity_margin`.
        title: for people.
        passed: whether it holds. What cannot be measured does not.
        found: the measured number; None if it could not be measured or is no number.
        bound: what it is compared with; None if it is no number.
        sentence: what was expected, what was found, and what to do if it does not hold.
        numbers: what else was measured: both models' figures, their difference, its interval.
    """

    name: str
    title: str
    passed: bool
    found: float | None = None
    bound: float | None = None
    sentence: str
    numbers: dict[str, JsonValue] = Field(default_factory=dict)


class VerdictSummary(RecordPart):
    """What the history keeps of a verdict.

    Attributes:
        passed: whether every criterion held.
        against: number of the version that was in service then; None for none.
        lost: the sentences of the criteria that did not hold.
        at: when, ISO 8601, UTC.
    """

    passed: bool
    against: int | None
    lost: tuple[str, ...]
    at: str

    def sentence(self, version: int) -> str:
        """Return the verdict on a version in one line, for a log or a notice."""
        beside = f"beside version {self.against}" if self.against is not None else "with no other version in service"
        if self.passed:
            return f"Version {version} passes the gate, {beside}."
        return f"Version {version} does not pass the gate, {beside}: {' '.join(self.lost)}"


class Verdict(Record):
    """The gate's judgement of a version, pass or fail; verdict.json beside the version's other files.

    Attributes:
        version: number of the version.
        run: its candidate's name.
        against: number of the version that was in service then, `against_run` its candidate's name; None for none.
        held_out_version: names the held-out images that both were scored on; `lesions` and `images` count them.
        left_out: further held-out images, whose lesions one of them learnt.
        criteria: each line.
        at: when, ISO 8601, UTC.
    """

    remedy: ClassVar[str] = "Remove it, and judge the version again: start skin_lesion_promote with its number."

    version: int
    run: str
    against: int | None
    against_run: str | None
    held_out_version: str
    images: int
    lesions: int
    left_out: LeftOut = LeftOut()
    criteria: tuple[Criterion, ...]
    at: str

    @computed_field
    @property
    def passed(self) -> bool:
        """Whether every criterion holds."""
        return all(criterion.passed for criterion in self.criteria)

    @property
    def lost(self) -> tuple[Criterion, ...]:
        """The criteria that do not hold."""
        return tuple(criterion for criterion in self.criteria if not criterion.passed)

    @property
    def sentence(self) -> str:
        """The verdict in one line, for a log or a notice."""
        return self.summary().sentence(self.version)

    def summary(self) -> VerdictSummary:
        """Return what the history keeps of it."""
        lost = tuple(one.sentence for one in self.lost)
        return VerdictSummary(passed=self.passed, against=self.against, lost=lost, at=self.at)


def verdict_path(models: Path, run: str) -> Path:
    """Return the path of the last verdict on a candidate."""
    return layout.candidate(models, run) / model_files.VERDICT


def read_verdict(models: Path, run: str, number: int) -> Verdict | None:
    """Return the last verdict on a version; None if it was not judged or its file is gone.

    Raises DataError if the file does not fit.
    """
    verdict = Verdict.read_if_there(verdict_path(models, run))
    return verdict if verdict is not None and verdict.version == number else None
