"""What happened to versions: who did what, when, from which version to which, and why. It only grows."""

from __future__ import annotations

import getpass
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from skinlesion.foundation import layout
from skinlesion.registry import append_log
from skinlesion.registry.verdict import VerdictSummary

What = Literal["judged", "approved", "declined", "promoted", "rolled back", "removed"]

SWITCHES: Final = ("promoted", "rolled back")
"""What changes which version is in service."""


@dataclass(frozen=True)
class HistoryEntry:
    """One line of the history.

    Attributes:
        at: when, ISO 8601, UTC, seconds.
        what: `judged` by the gate; `approved` or `declined` by a person (or by nobody in time); `promoted`, `rolled back`;
            `removed`: its files went by the retention setting.
        actor: who: a user's name, or the run of the DAG that did it.
        version: number of the version concerned; for a switch, the one that came into service.
        previous: for a switch, the version that was in service before; None where none, or one that is no version, was.
        reason: why, in words.
        verdict: what the gate had said of the version by then; None where it was not asked.
        switch: number of the switch, 1, 2, ...; None for what is none.
    """

    at: str
    what: What
    actor: str
    version: int
    previous: int | None
    reason: str
    verdict: VerdictSummary | None
    switch: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> Self:
        """Give what the JSON says. Raises TypeError or KeyError when it is no entry."""
        return cls(**{**content, "verdict": VerdictSummary.of(content["verdict"])})


def path(models: Path) -> Path:
    """Where the history lies."""
    return layout.registry(models) / "history.jsonl"


def read(models: Path) -> list[HistoryEntry]:
    """Give the entries as they are in the file, oldest first; `snapshot.Registry.read` gives the whole history."""
    return [HistoryEntry.of(entry) for entry in append_log.read(path(models))]


def append(models: Path, entry: HistoryEntry) -> None:
    """Add an entry. The caller holds the registry's lock."""
    append_log.append(path(models), entry.as_dict())


def now() -> str:
    """Give the time as entries have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_user() -> str:
    """Name who runs this process: what a command of theirs puts in the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, whose user has no name
        return f"user {os.getuid()}"
