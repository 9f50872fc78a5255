"""What happened to versions: who did what, when, from which version to which, and why. The file only grows."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal

from skinlesion.foundation import layout
from skinlesion.foundation.record import Record
from skinlesion.registry import append_log
from skinlesion.registry.verdict import VerdictSummary

What = Literal["judged", "approved", "declined", "promoted", "rolled back", "removed"]

SWITCHES: Final = ("promoted", "rolled back")
"""What changes which version is in service."""


class HistoryEntry(Record):
    """One line of the history.

    Attributes:
        at: when, ISO 8601, UTC, seconds.
        what: `judged` by the gate; `approved` or `declined` by a person (or by nobody in time); `promoted`, `rolled back`;
            `removed`: its files went by the retention setting.
        actor: who did it: a user's name, or the run of the DAG.
        version: number of the version concerned; for a switch, the one that came into service.
        previous: for a switch, the version that was in service before; None if none was.
        reason: why, in words.
        verdict: what the gate had said of the version by then; None if it was not asked.
        switch: number of the switch, 1, 2, ...; None for what is none.
    """

    remedy: ClassVar[str] = "Correct the line, or restore the file from a back-up."

    at: str
    what: What
    actor: str
    version: int
    previous: int | None = None
    reason: str
    verdict: VerdictSummary | None = None
    switch: int | None = None


def path(models: Path) -> Path:
    """Return the path of the history."""
    return layout.registry(models) / "history.jsonl"


def read(models: Path) -> list[HistoryEntry]:
    """Return the entries as they are in the file, oldest first; `snapshot.Registry.read` returns the whole history.

    Raises DataError if a line does not fit.
    """
    return list(append_log.records(path(models), HistoryEntry.of_line))


def append(models: Path, entry: HistoryEntry) -> None:
    """Add an entry. The caller holds the registry's lock."""
    append_log.append(path(models), entry)


def now() -> str:
    """Return the time in the form that entries have."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_user() -> str:
    """Return the name of who runs this process, which the history notes of their commands."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, whose user has no name
        return f"user {os.getuid()}"
