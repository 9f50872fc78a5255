"""What the gate says of a version: one line a criterion, with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, JsonValue, computed_field

from skinlesion.foundation import layout
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.registry import model_files
from skinlesion.registry.metrics_record import LeftOut

Unjudged = Literal["too few to judge", "not compared", "a person decides"]
"""Why a line says neither yes nor no: too few lesions for either, nothing to compare with, or it is for a person to say."""

Outcome = Literal["passed", "passed provisionally", "not passed", "too few to judge"]
"""What the gate says of a version; provisionally: it is the first, and a floor rests on too few lesions."""


class Criterion(RecordPart):
    """One line of a verdict.

    Attributes:
        name: as its setting without `gate_`, for example `sensitivity_margin`.
        title: for people.
        passed: whether it lets the version pass. What cannot be measured does not.
        unjudged: why it says neither yes nor no; None where it does.
        found: the measured number; None if it could not be measured or is no number.
        bound: what it is compared with; None if it is no number.
        sentence: what was expected, what was found, and what to do if it does not hold.
        numbers: what else was measured: both models' figures, their difference, its interval.
    """

    name: str
    title: str
    passed: bool
    unjudged: Unjudged | None = None
    found: float | None = None
    bound: float | None = None
    sentence: str
    numbers: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def says(self) -> str:
        """What a page or a command shows of it: `yes`, `no`, or why it is neither."""
        return self.unjudged or ("yes" if self.passed else "no")


class Look(RecordPart):
    """One judgement by the held-out lesions of a candidate beside the reference.

    Attributes:
        reference: number of the version that was the reference then.
        lesions: number of malignant lesions that were held out.
        confidence: with which the candidate had to be shown to be no worse than the reference.
        p_worse: p-value of "it is worse by a margin or more", the larger one of balanced accuracy and sensitivity.
        is_draw: whether it drew on the error budget.
        is_better: whether the candidate is shown to be better than the reference, which it replaces when it comes into service.
    """

    reference: int
    lesions: int
    confidence: float
    p_worse: float
    is_draw: bool
    is_better: bool


class VerdictSummary(RecordPart):
    """What the history keeps of a verdict.

    Attributes:
        passed: whether every criterion lets it pass.
        is_too_few: whether too few lesions are the only reason against it or, if it passed, make it provisional.
        against: number of the version that was in service then; None for none.
        lost: the sentences of the criteria that did not hold.
        look: the judgement beside the reference; None if nothing was compared.
        at: when, ISO 8601, UTC.
    """

    passed: bool
    is_too_few: bool = False
    against: int | None
    lost: tuple[str, ...]
    look: Look | None = None
    at: str

    @property
    def outcome(self) -> Outcome:
        """What the gate said."""
        if self.passed:
            return "passed provisionally" if self.is_too_few else "passed"
        return "too few to judge" if self.is_too_few else "not passed"

    def sentence(self, version: int) -> str:
        """Return the verdict on a version in one line, for a log or a notice."""
        beside = f"beside version {self.against}" if self.against is not None else "with no other version in service"
        if self.passed and self.is_too_few:
            return f"Version {version} passes the gate provisionally, {beside}: its floors rest on too few lesions to judge."
        if self.passed:
            return f"Version {version} passes the gate, {beside}."
        why = ": too few lesions to judge" if self.is_too_few else ""
        return f"Version {version} does not pass the gate, {beside}{why}: {' '.join(self.lost)}"


class Verdict(Record):
    """The gate's judgement of a version; verdict.json beside the version's other files.

    Attributes:
        version: number of the version.
        run: its candidate's name.
        against: number of the version that was in service then, `against_run` its candidate's name; None for none.
        held_out_version: names the held-out images that both were scored on; `lesions` and `images` count them.
        left_out: further held-out images, whose lesions one of them learnt.
        look: the judgement beside the reference; None if nothing was compared.
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
    look: Look | None = None
    criteria: tuple[Criterion, ...]
    at: str

    @computed_field
    @property
    def passed(self) -> bool:
        """Whether every criterion lets it pass."""
        return all(criterion.passed for criterion in self.criteria)

    @property
    def outcome(self) -> Outcome:
        """What the gate says."""
        return self.summary().outcome

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
        deciding = self.lost or [one for one in self.criteria if one.unjudged != "not compared"]
        few = [one.unjudged == "too few to judge" for one in deciding]
        return VerdictSummary(
            passed=self.passed,
            is_too_few=any(few) if self.passed else all(few),
            against=self.against,
            lost=tuple(one.sentence for one in self.lost),
            look=self.look,
            at=self.at,
        )


def verdict_path(models: Path, run: str) -> Path:
    """Return the path of the last verdict on a candidate."""
    return layout.candidate(models, run) / model_files.VERDICT


def read_verdict(models: Path, run: str, number: int) -> Verdict | None:
    """Return the last verdict on a version; None if it was not judged or its file is gone.

    Raises DataError if the file does not fit.
    """
    verdict = Verdict.read_if_there(verdict_path(models, run))
    return verdict if verdict is not None and verdict.version == number else None
