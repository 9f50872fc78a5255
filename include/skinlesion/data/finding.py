"""What a check of the data found (one figure beside its bound, and the images concerned), and the report of all findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from skinlesion.foundation.record import RecordPart

Verdict = Literal["passed", "failed", "accepted", "not judged"]

ROWS_NAMED: Final = 10
"""Number of images that an error names; the table beside the report has all."""


@dataclass(frozen=True, slots=True)
class Row:
    """An image that a finding is about, and why."""

    image: str
    file: str
    why: str


class CheckResult(RecordPart):
    """A finding as the data report stores it: of the images concerned, their number and the first `ROWS_NAMED`."""

    check: str
    title: str
    figure: float | None
    bound: float
    verdict: Verdict
    found: str
    rows: int
    first_rows: tuple[Row, ...]


@dataclass(frozen=True)
class Finding:
    """One figure beside its bound.

    Attributes:
        check: name of the setting that is the bound.
        title: what was looked at.
        figure: the figure; None where nothing could be measured.
        bound: the largest figure that passes.
        verdict: `accepted` is a failure that the run was asked to accept.
        found: a sentence with the figure, for people.
        remedy: what to do when the check failed.
        rows: the images concerned, the most telling first.
        compares: whether the check compares with the accepted catalog; a single run may accept such a change.
    """

    check: str
    title: str
    figure: float | None
    bound: float
    verdict: Verdict
    found: str
    remedy: str = ""
    rows: tuple[Row, ...] = field(default=(), repr=False)
    compares: bool = True

    def result(self) -> CheckResult:
        """Return the finding as the data report stores it."""
        return CheckResult(
            check=self.check,
            title=self.title,
            figure=None if self.figure is None else round(float(self.figure), 4),
            bound=self.bound,
            verdict=self.verdict,
            found=self.found,
            rows=len(self.rows),
            first_rows=self.rows[:ROWS_NAMED],
        )

    def __str__(self) -> str:
        named = ", ".join(f"{row.image} ({row.why})" for row in self.rows[:ROWS_NAMED])
        more = f" and {len(self.rows) - ROWS_NAMED} more" if len(self.rows) > ROWS_NAMED else ""
        rows = f" They are: {named}{more}." if named else ""
        return f"{self.title}: {self.found}{rows} {self.remedy}"


class LinkedReport(RecordPart):
    """The data report as a model's report links to it: its file, its verdict, and what the failed checks found."""

    file: str
    verdict: Verdict
    beyond: list[str]
