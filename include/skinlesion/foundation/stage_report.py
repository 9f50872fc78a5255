"""What a stage reports when it has finished."""

from __future__ import annotations

import time

from pydantic import Field, JsonValue

from skinlesion.foundation.record import RecordPart


class StageReport(RecordPart):
    """Counts of one stage's run, small enough for an XCom of Airflow; `skinlesion.stages.sentences` puts them into words.

    Attributes:
        stage: name of the stage.
        seen: number of items that the stage examined.
        done: number of items on which it worked in this run.
        skipped: number of items that were up to date.
        refused: number of items that cannot be used.
        seconds: duration of the run.
        details: what the stage reports beyond the counts.
    """

    stage: str
    seen: int
    done: int
    skipped: int
    seconds: float
    refused: int = 0
    details: dict[str, JsonValue] = Field(default_factory=dict)

    def as_dict(self) -> dict[str, JsonValue]:
        """Return counts and details side by side in one dictionary, as a task of Airflow returns them."""
        return self.model_dump(mode="json", exclude={"details"}) | self.details


class Stopwatch:
    """Measures the seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds that have passed."""
        return round(time.monotonic() - self._start, 3)

    def report(
        self,
        stage: str,
        *,
        seen: int,
        done: int,
        skipped: int | None = None,
        refused: int = 0,
        details: dict[str, JsonValue] | None = None,
    ) -> StageReport:
        """Return the report of a stage that began with this watch. skipped: what was not done, unless it is given."""
        return StageReport(
            stage=stage,
            seen=seen,
            done=done,
            skipped=seen - done if skipped is None else skipped,
            seconds=self.seconds(),
            refused=refused,
            details=details or {},
        )
