"""What happened to versions: who did what, when, from which version to which, and why. The file only grows."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal

from skinlesion.foundation import append_log, layout
from skinlesion.foundation.append_log import Lines
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.registry.figure import Figure
from skinlesion.registry.verdict import VerdictSummary
from skinlesion.registry.versions import FIGURES

What = Literal[
    "judged",
    "approved",
    "declined",
    "promoted",
    "rolled back",
    "removed",
    "made the reference",
    "measured on the sealed lesions",
    "measured by other labels",
    "measured without images that left",
]

SWITCHES: Final = ("promoted", "rolled back")
"""What changes which version is in service."""


class SealedFigures(RecordPart):
    """What a version was measured to be on the sealed lesions.

    Attributes:
        images, lesions: how many sealed ones it was measured on.
        figures: by the names of `versions.FIGURES`. nightly: the same as evaluate measured them last.
    """

    images: int
    lesions: int
    figures: dict[str, Figure]
    nightly: dict[str, Figure]

    @property
    def sentence(self) -> str:
        """The figures beside the nightly ones, for people."""
        both = (
            f"{title} {figure.text}, nightly {self.nightly.get(name, Figure()).text}"
            for name, title in FIGURES.items()
            if (figure := self.figures.get(name, Figure())).value is not None
        )
        return f"On {self.lesions} sealed lesions: {'; '.join(both)}."


class Relabelled(RecordPart):
    """Held-out images that have another class than before, or have left the data, so that models are measured by another truth.

    Attributes:
        images: how many have another class.
        left: how many are not held out any more: their files or rows are gone, or they are refused.
        by: of how many of the first somebody said what they show, by their name; the rest is by the tables.
        held_out_version: names the held-out images with their labels from then on.
    """

    images: int
    left: int = 0
    by: dict[str, int]
    held_out_version: str


class HistoryEntry(Record):
    """One line of the history.

    Attributes:
        at: when, ISO 8601, UTC, seconds.
        what: `judged` by the gate; `approved` or `declined` by a person (or by nobody in time); `promoted`, `rolled back`;
            `removed`: its files went by the retention setting; `made the reference` by a person; `measured on the sealed lesions`, which are opened for it; `measured by other labels`:
            all versions from then on, as held-out images were relabelled since this one was measured; `measured without images that left`:
            the same, as held-out images are not in the data any more.
        actor: who did it: a user's name, or a run of the DAG in words.
        version: number of the version concerned; for a switch, the one that came into service.
        previous: for a switch, the version that was in service before, for a reference the one before; None if none was.
        reason: why, in words.
        verdict: what the gate had said of the version by then; None if it was not asked.
        switch: number of the switch, 1, 2, ...; None for what is none.
        sealed: what was measured on the sealed lesions, if that is what happened.
        relabelled: how many held-out images have another class or have left, if that is what happened.
        dag_run: for a verdict, the DAG and Airflow's name of the run that asked for it; None if it was no run.
    """

    remedy: ClassVar[str] = append_log.REMEDY

    at: str
    what: What
    actor: str
    version: int
    previous: int | None = None
    reason: str
    verdict: VerdictSummary | None = None
    switch: int | None = None
    sealed: SealedFigures | None = None
    relabelled: Relabelled | None = None
    dag_run: str | None = None


def path(models: Path) -> Path:
    """Return the path of the history."""
    return layout.registry(models) / "history.jsonl"


def lines(models: Path) -> Lines[HistoryEntry]:
    """Return the entries that can be read, as they are in the file, oldest first, and what cannot; `snapshot.Registry` has the whole history."""
    return append_log.read(path(models), HistoryEntry.of_line)


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
