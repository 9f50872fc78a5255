"""What the registry's files must know and do not: a file that is gone or older than the rest is not an empty one.

The history, the versions, the releases and the candidates name each other, so what one has lost the others tell.
`restore` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.registry import history, versions
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.in_service import InService
from skinlesion.registry.model_files import TFLITE, TFLITE_OF_CANDIDATE, VERDICT
from skinlesion.registry.versions import KnownVersions, Registered, noted_beside_candidates

REMEDY: Final = "Restore the file from a back-up, or let `skinlesion models restore` write it anew from the candidates and the releases."


def with_switches(
    entries: list[HistoryEntry], now: InService | None, releases: Sequence[InService], *, is_now_known: bool
) -> list[HistoryEntry]:
    """Return the history with the switches that it lacks and that the releases know, oldest first.

    One of them is normal: the process that made the switch in force was killed before it noted it. A release whose switch
    was killed before it came into force is no switch. is_now_known: whether `now` is what is in service.
    """
    noted = {entry.switch for entry in entries if entry.switch is not None}
    last = max((*noted, now.entry.switch or 0 if now is not None else 0), default=0)
    found = [*releases, now] if now is not None else releases
    for release in found:
        entry = release.entry
        if entry.switch is not None and entry.switch not in noted and (entry.switch <= last or not is_now_known):
            noted.add(entry.switch)
            later = (place for place, one in enumerate(entries) if (one.switch or 0) > entry.switch)
            place = next(later, len(entries))
            entries = [*entries[:place], entry, *entries[place:]]
    return entries


def of_releases(releases: Sequence[InService]) -> dict[int, Registered]:
    """Return what the releases know of their versions, by number: enough to go back to one of them."""
    return {
        release.version: Registered(
            number=release.version,
            run=release.run,
            created=release.entry.at,
            sha256={TFLITE_OF_CANDIDATE if name == TFLITE else name: one for name, one in release.sha256.items()},
            training_version="",
            git_revision="",
        )
        for release in releases
    }


def named_in(entries: Iterable[HistoryEntry], known: KnownVersions) -> set[int]:
    """Return the numbers of the versions that the history names, or a measurement."""
    named = {number for entry in entries for number in (entry.version, entry.previous) if number is not None}
    return named | {line.number for line in known.measured}


def lost(
    models: Path, known: KnownVersions, noted: Sequence[HistoryEntry], entries: Sequence[HistoryEntry]
) -> Iterator[str]:
    """Yield a sentence for each file that lacks what others know of it.

    noted: the history as it is in its file. entries: with the switches that the releases know.
    """
    named = named_in(entries, known)
    named |= set() if known.registered else set(noted_beside_candidates(models))
    if numbers := sorted(named - known.registered.keys()):
        yield (
            f"{versions.path(models)} does not have the versions {_in_words(numbers)}, which the history, the releases or the "
            f"candidates name. {REMEDY}"
        )
    switches = {entry.switch for entry in entries if entry.switch is not None}
    in_force = max(switches, default=0)
    # The process that made the switch in force may have been killed before it noted it.
    if numbers := sorted(set(range(1, in_force)) - {entry.switch for entry in noted}):
        yield f"{history.path(models)} does not have the switches {_in_words(numbers)}. {REMEDY}"
    elif not history.path(models).exists():
        judged = sum(1 for _ in layout.candidates(models).glob(f"*/{VERDICT}"))
        if judged > 1:  # the process that wrote the first one may have been killed before it noted it
            yield f"{history.path(models)} is missing, and {judged} candidates were judged. {REMEDY}"


def require_all_known(models: Path, known: KnownVersions) -> None:
    """Raise DataError if a candidate has a number that is not registered: the next version must not get it again."""
    if numbers := sorted(noted_beside_candidates(models).keys() - known.registered.keys()):
        raise DataError(
            f"{versions.path(models)} does not have the versions {_in_words(numbers)}, which candidates have. {REMEDY}"
        )


def _in_words(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (f" and {len(numbers) - 10} more" if len(numbers) > 10 else "")
