"""What a source says when its files are in."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Final

log = logging.getLogger(__name__)

LISTED: Final = 20
"""So many files are named, each with its reason; the rest is counted."""


@dataclass
class SourceReport:
    """Counts of one source. `waiting` and `failed` give each file's reason."""

    arrived: int = 0
    already_there: int = 0
    waiting: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def told(self, source: str) -> dict[str, Any]:
        """Say in the log what came and what did not, and give the report as a small JSON-able dictionary."""
        log.info(
            "%s: %d files arrived, %d were there already, %d wait, %d failed",
            source,
            self.arrived,
            self.already_there,
            len(self.waiting),
            len(self.failed),
        )
        for file, reason in list(self.failed.items())[:LISTED]:
            log.warning("%s: %s was not taken: %s", source, _printable(file), _printable(reason))
        return {
            "arrived": self.arrived,
            "already_there": self.already_there,
            "waiting": len(self.waiting),
            "failed": len(self.failed),
            "waiting_because": _first(self.waiting),
            "failed_because": _first(self.failed),
        }


def _first(reasons: dict[str, str]) -> dict[str, str]:
    return {_printable(file): _printable(reason) for file, reason in list(reasons.items())[:LISTED]}


def _printable(text: str) -> str:
    """Names of files and keys may hold bytes that are no text; a report is JSON."""
    return text.encode(errors="backslashreplace").decode()
