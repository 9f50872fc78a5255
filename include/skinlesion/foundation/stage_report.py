"""The report of a stage that is done."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class StageReport:
    """Counts of one run of a stage; small enough for XCom.

    Attributes:
        stage: name of the stage.
        seen: items that the stage was given.
        done: items that it processed in this run.
        skipped: items that were up to date.
        refused: items that cannot be used.
        seconds: duration of the run.
        details: other results of the stage, of types that JSON has.
    """

    stage: str
    seen: int
    done: int
    skipped: int
    refused: int
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as one flat dictionary of types that JSON has."""
        counts = {
            "stage": self.stage,
            "seen": self.seen,
            "done": self.done,
            "skipped": self.skipped,
            "refused": self.refused,
            "seconds": self.seconds,
        }
        return counts | self.details

    @classmethod
    def merge(cls, reports: Sequence[Self]) -> Self:
        """Return one report for the shards of a stage: the sums of the counts, and the seconds of the slowest shard."""
        first = reports[0]
        details = {key: value for report in reports for key, value in report.details.items()}
        return cls(
            stage=first.stage,
            seen=sum(report.seen for report in reports),
            done=sum(report.done for report in reports),
            skipped=sum(report.skipped for report in reports),
            refused=sum(report.refused for report in reports),
            seconds=max(report.seconds for report in reports),
            details=details,
        )

    def __str__(self) -> str:
        text = f"{self.stage}: seen={self.seen} done={self.done} skipped={self.skipped} refused={self.refused}"
        said = ", ".join(f"{key}={value}" for key, value in self.details.items() if not isinstance(value, dict | list))
        nothing = " (nothing to do)" if self.done == 0 else ""
        return f"{text} in {self.seconds:.1f} s{nothing}" + (f" [{said}]" if said else "")


class Stopwatch:
    """Seconds since it was made, for a stage's report."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds that have passed."""
        return round(time.monotonic() - self._start, 3)
