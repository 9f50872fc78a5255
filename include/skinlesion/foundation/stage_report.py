"""What a stage reports when it has finished."""

from __future__ import annotations

import time

from pydantic import Field, JsonValue

from skinlesion.foundation.record import RecordPart


class StageReport(RecordPart):
    """Counts of one stage's run, small enough for an XCom of Airflow.

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

    def __str__(self) -> str:
        text = f"{self.stage}: seen={self.seen} done={self.done} skipped={self.skipped} refused={self.refused}"
        nothing = " (nothing to do)" if self.done == 0 else ""
        shown = ", ".join(f"{key}={value}" for key, value in self.details.items() if not isinstance(value, dict | list))
        return f"{text} in {self.seconds:.1f} s{nothing}" + (f" [{shown}]" if shown else "")


class Stopwatch:
    """Measures the seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds that have passed."""
        return round(time.monotonic() - self._start, 3)
