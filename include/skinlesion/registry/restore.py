"""Write the registry's files anew: what can be read of them, and what the candidates and the releases know."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.registry import history, versions
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.lost import named_in
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.model_files import H5
from skinlesion.registry.register import measurement
from skinlesion.registry.switch import writing
from skinlesion.registry.verdict import read_verdict
from skinlesion.registry.versions import (
    KnownVersions,
    MeasuredLine,
    Measurement,
    Registered,
    RegisteredLine,
    noted_beside_candidates,
)


@dataclass(frozen=True)
class Restored:
    """What was done.

    Attributes:
        damage: what was damaged or lost before.
        kept: the files as they were, which are kept beside the new ones.
        versions, entries: how many versions and entries of the history there are now.
        unknown: the numbers of versions of which nothing is left but their number.
    """

    damage: tuple[str, ...]
    kept: tuple[Path, ...]
    versions: int
    entries: int
    unknown: tuple[int, ...]


def restore(models: Path) -> Restored:
    """Write the versions and the history anew where they are damaged or lost; what is in service stays as it is.

    Nothing is thrown away: the files as they were are kept beside the new ones. Figures come back as they were measured
    last, verdicts as they were given last. An answer of a person that only the lost part of the history had does not.
    """
    with writing(models, although_damaged=True) as registry:
        known, entries = KnownVersions.read(models), list(reversed(registry.history))
        noted = noted_beside_candidates(models)
        if not registry.damage and noted.keys() <= known.registered.keys():
            return Restored((), (), len(known.registered), len(entries), ())
        released = {number: _completed(models, version) for number, version in registry.known.registered.items()}
        everything = released | noted | known.registered
        unknown = tuple(sorted(named_in(entries, known) - everything.keys()))
        everything |= {number: _unknown(number, entries) for number in unknown}
        registered = [RegisteredLine(registered=everything[number]) for number in sorted(everything)]
        measured = _measurements(models, known, everything)
        entries = [*_judged(models, everything, entries), *entries]
        kept = [
            _write_anew(versions.path(models), [*registered, *measured]),
            _write_anew(history.path(models), entries),
        ]
        for version in everything.values():
            candidate = Candidate(layout.candidate(models, version.run))
            if candidate.folder.is_dir():
                versions.note_beside(candidate, version)
    return Restored(
        damage=registry.damage,
        kept=tuple(path for path in kept if path is not None),
        versions=len(registered),
        entries=len(entries),
        unknown=unknown,
    )


def _completed(models: Path, version: Registered) -> Registered:
    """Return a version of which only its release was known with what its candidate has, if that is the same model."""
    with suppress(DataError):
        training = Candidate(layout.candidate(models, version.run)).read_training()
        if training is not None and version.sha256.items() <= training.sha256.items():
            update = {name: getattr(training, name) for name in ("sha256", "training_version", "git_revision")}
            return version.model_copy(update=update)
    return version


def _unknown(number: int, entries: Sequence[HistoryEntry]) -> Registered:
    """Return a version of which nothing is left. It keeps its number, so that no other version gets it."""
    at = next((entry.at for entry in entries if entry.version == number), history.now())
    return Registered(
        number=number, run=f"unknown-{number}", created=at, sha256={}, training_version="", git_revision=""
    )


def _measurements(models: Path, known: KnownVersions, registered: dict[int, Registered]) -> list[MeasuredLine]:
    """Return the measurements in their order; of a version without any, that which its candidate has."""
    lines = [*known.measured]
    last = max((line.number for line in lines), default=0)
    for number in sorted(registered.keys() - known.measurements.keys()):
        found = _measurement_beside(Candidate(layout.candidate(models, registered[number].run)), registered[number])
        if found is not None:
            line = MeasuredLine(number=number, measured=found)
            lines = [*lines, line] if number > last else [line, *lines]
    return lines


def _measurement_beside(candidate: Candidate, version: Registered) -> Measurement | None:
    with suppress(DataError, OSError):
        training, metrics = candidate.read_training(), MetricsRecord.read(candidate.metrics)
        if training is not None and training.sha256.get(H5) == version.sha256.get(H5):
            at = datetime.fromtimestamp(candidate.metrics.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
            return measurement(metrics, at)
    return None


def _judged(models: Path, registered: dict[int, Registered], entries: Sequence[HistoryEntry]) -> list[HistoryEntry]:
    """Return an entry for each verdict beside a candidate of which the history has none."""
    noted = {entry.version for entry in entries if entry.what == "judged"}
    found = []
    for number in sorted(registered.keys() - noted):
        with suppress(DataError, OSError):
            verdict = read_verdict(models, registered[number].run, number)
            if verdict is not None:
                found.append(
                    HistoryEntry(
                        at=verdict.at,
                        what="judged",
                        actor="restored from the verdict",
                        version=number,
                        reason=verdict.sentence,
                        verdict=verdict.summary(),
                    )
                )
    return found


def _write_anew(path: Path, records: Sequence[Record]) -> Path | None:
    """Write a file of lines unless it holds them already; return where the file as it was is kept, None if there was none."""
    content = "".join(record.line() + "\n" for record in records).encode()
    with suppress(OSError):
        if path.read_bytes() == content:
            return None
    kept = None
    if os.path.lexists(path):
        kept = next(
            place for n in range(1, 1000) if not os.path.lexists(place := path.with_name(f"{path.name}.damaged-{n}"))
        )
        try:
            atomic.write_bytes(kept, path.read_bytes())
        except OSError:  # it is no file that can be read
            path.rename(kept)
    if content or kept is not None:
        atomic.write_bytes(path, content)
    return kept
