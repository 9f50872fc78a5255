"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

Verdict = Literal["passed", "failed", "accepted", "not judged"]

ROWS_NAMED: Final = 10
"""So many rows are named in an error; the file beside it has all."""


class Row(NamedTuple):
    """An image that a finding is about, and why."""

    image: str
    file: str
    why: str


@dataclass(frozen=True)
class Finding:
    """One figure beside its bound.

    Attributes:
        check: name of the check's setting.
        title: what was looked at.
        figure: found; None where nothing could be found.
        bound: at most this much passes.
        verdict: `accepted` is a failure that the run was told to accept.
        found: a sentence with the figure, for people.
        remedy: what to do when it failed.
        rows: the images concerned, those that say most first.
        compares: whether it looks at what changed; a single run may accept that.
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

    def as_dict(self) -> dict[str, Any]:
        """Give the finding as JSON holds it; of the rows, their number and the first."""
        return {
            "check": self.check,
            "title": self.title,
            "figure": None if self.figure is None else round(self.figure, 4),
            "bound": self.bound,
            "verdict": self.verdict,
            "found": self.found,
            "rows": len(self.rows),
            "first_rows": [row._asdict() for row in self.rows[:ROWS_NAMED]],
        }

    def __str__(self) -> str:
        named = ", ".join(f"{row.image} ({row.why})" for row in self.rows[:ROWS_NAMED])
        more = f" and {len(self.rows) - ROWS_NAMED} more" if len(self.rows) > ROWS_NAMED else ""
        rows = f" They are: {named}{more}." if named else ""
        return f"{self.title}: {self.found}{rows} {self.remedy}"
