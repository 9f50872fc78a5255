"""What the gate says of a version: one line a criterion, with its numbers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from skinlesion.foundation import atomic, layout
from skinlesion.registry import model_files


@dataclass(frozen=True)
class Criterion:
    """One line of a verdict.

    Attributes:
        name: as its setting without `gate_`, for example `sensitivity_margin`.
        title: for people.
        passed: whether it holds. What cannot be measured does not.
        found: the measured number; None where it could not be measured, or is no number.
        bound: what it is compared with; None where it is no number.
        sentence: what was expected, what was found, and what to do where it does not hold.
        numbers: what else was measured: both models' figures, their difference, its interval.
    """

    name: str
    title: str
    passed: bool
    found: float | None
    bound: float | None
    sentence: str
    numbers: dict[str, Any]


@dataclass(frozen=True)
class VerdictSummary:
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

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)

    def sentence(self, version: int) -> str:
        """Give the verdict on a version in one line, for a log or a notice."""
        beside = f"beside version {self.against}" if self.against is not None else "with no other version in service"
        if self.passed:
            return f"Version {version} passes the gate, {beside}."
        return f"Version {version} does not pass the gate, {beside}: {' '.join(self.lost)}"

    @classmethod
    def of(cls, content: dict[str, Any] | None) -> Self | None:
        """Give what the JSON says; None for None."""
        if content is None:
            return None
        return cls(content["passed"], content["against"], tuple(content["lost"]), content["at"])


@dataclass(frozen=True)
class Verdict:
    """The gate's judgement of a version, pass or fail; verdict.json beside the version's other files.

    Attributes:
        version: number of the version.
        run: its candidate's name.
        against: number of the version that was in service then, `against_run` its candidate's name; None for none.
        held_out_version: names the held-out images that both were scored on, now; `lesions` and `images` count them.
        criteria: each line.
        at: when, ISO 8601, UTC.
    """

    version: int
    run: str
    against: int | None
    against_run: str | None
    held_out_version: str
    images: int
    lesions: int
    criteria: tuple[Criterion, ...]
    at: str

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
        """Give what the history keeps of it."""
        return VerdictSummary(self.passed, self.against, tuple(one.sentence for one in self.lost), self.at)

    def write(self, models: Path) -> None:
        """Store the verdict with the version's files."""
        content = {"passed": self.passed, **asdict(self)}
        atomic.write_text(layout.candidate(models, self.run) / NAME, json.dumps(content, indent=1))


NAME = model_files.VERDICT
"""Beside a candidate's other files."""


def read_verdict(models: Path, run: str, number: int) -> Verdict | None:
    """Give the last verdict of a version; None where it was not judged, or its file is gone."""
    try:
        content = json.loads((layout.candidate(models, run) / NAME).read_text())
        criteria = tuple(Criterion(**criterion) for criterion in content.pop("criteria"))
        del content["passed"]
        verdict = Verdict(criteria=criteria, **content)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return verdict if verdict.version == number else None
