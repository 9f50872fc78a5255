"""What arrived from a source and what did not."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict

from skinlesion.data.images.listing import printable
from skinlesion.foundation.redaction import without_secrets

log = logging.getLogger(__name__)

LISTED: Final = 20
"""Number of files that a summary names, each with its reason; the rest is counted."""


class SourceSummary(BaseModel):
    """A `SourceReport` as it is written: small enough for XCom, and of printable text."""

    model_config = ConfigDict(frozen=True)

    arrived: int
    already_there: int
    waiting: int
    failed: int
    waiting_because: dict[str, str]
    failed_because: dict[str, str]


@dataclass
class SourceReport:
    """Counts of one source. `waiting` and `failed` map each file to its reason."""

    arrived: int = 0
    already_there: int = 0
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def summary(self) -> SourceSummary:
        """Return the counts and the reasons of the first files."""
        return SourceSummary(
            arrived=self.arrived,
            already_there=self.already_there,
            waiting=len(self.waiting),
            failed=len(self.failed),
            waiting_because=_first(self.waiting),
            failed_because=_first(self.failed),
        )

    def add(self, other: SourceReport) -> None:
        """Add the counts and reasons of another report."""
        self.arrived += other.arrived
        self.already_there += other.already_there
        self.waiting |= other.waiting
        self.failed |= other.failed

    def log(self, source: str) -> None:
        """Write the counts and the first failures to the log."""
        summary = self.summary()
        counts = (summary.arrived, summary.already_there, summary.waiting, summary.failed)
        log.info("%s: %d files arrived, %d were there already, %d wait, %d failed", source, *counts)
        for file, reason in summary.failed_because.items():
            log.warning("%s: %s was not taken: %s", source, file, reason)


def _first(reasons: dict[str, str]) -> dict[str, str]:
    return {printable(file): printable(without_secrets(reason)) for file, reason in list(reasons.items())[:LISTED]}
