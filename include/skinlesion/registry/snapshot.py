"""The registry as it is now, for a page or a command. It loads no pandas; a thousand versions take milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.registry import history, in_service
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import Figure
from skinlesion.registry.history import SWITCHES, HistoryEntry
from skinlesion.registry.in_service import InService
from skinlesion.registry.looks import Looks, reference_of
from skinlesion.registry.lost import lost, of_releases, with_switches
from skinlesion.registry.verdict import VerdictSummary
from skinlesion.registry.versions import KnownVersions, Measurement, Registered, State


class Version(Registered):
    """A version and what has become of it.

    Attributes:
        state: see `versions.State`.
        measured: what evaluate measured last; None before the first evaluation.
        verdict: summary of the last verdict; None if the gate has not judged it. `verdict.read_verdict` has each line.
        has_files: whether the model files are still there; without them it cannot be promoted.
    """

    state: State
    measured: Measurement | None
    verdict: VerdictSummary | None
    has_files: bool

    @property
    def standing(self) -> str:
        """Its state for people: with `provisional` where it came into service on too few lesions to judge."""
        is_provisional = self.verdict is not None and self.verdict.outcome == "passed provisionally"
        return f"{self.state}, provisional" if is_provisional and self.state != "rejected" else self.state

    def figure(self, name: str) -> Figure:
        """Return a figure of `versions.FIGURES` as it was measured last."""
        return (self.measured.figures if self.measured else {}).get(name, Figure())


@dataclass(frozen=True)
class TrendPoint:
    """A figure of a version as it was measured at some time."""

    at: str
    number: int
    figure: Figure
    held_out_version: str


@dataclass(frozen=True)
class Registry:
    """A snapshot.

    Attributes:
        versions: newest first.
        in_service: what is in service, since when, by whom and why; None if nothing is, or if that cannot be read.
        in_service_damage: why what is in service cannot be read; empty if it can.
        history: every entry, newest first.
        damage: a sentence for everything that is damaged or lost, what is in service included. Who shows the registry shows
            them too; who decides by it calls `require_whole`.
    """

    models: Path
    versions: tuple[Version, ...]
    in_service: InService | None
    history: tuple[HistoryEntry, ...]
    known: KnownVersions
    in_service_damage: str = ""
    damage: tuple[str, ...] = ()

    @classmethod
    def read(cls, models: Path) -> Self:
        """Return the registry under models/ as far as it can be read, an empty one if there is none yet."""
        now, in_service_damage = None, ""
        # In the opposite order of that in which they are written: what is read later knows what was read before.
        try:
            now = in_service.read(models)
        except DataError as error:
            in_service_damage = str(error)
        released = in_service.releases(models)
        lines = history.lines(models)
        known = KnownVersions.read(models)
        entries = with_switches(list(lines.records), now, released, is_now_known=not in_service_damage)
        read = [*known.damage, *lines.damage]
        damage = [*read, *(() if read else lost(models, known, lines.records, entries))]
        known = replace(known, registered=of_releases(released) | known.registered)
        verdicts: dict[int, VerdictSummary] = {}
        declined: dict[int, bool] = {}
        were: set[int] = set()
        removed: set[int] = set()
        for entry in entries:
            if entry.what == "judged" and entry.verdict is not None:
                verdicts[entry.version] = entry.verdict
                declined[entry.version] = False
            elif entry.what == "declined":
                declined[entry.version] = True
            elif entry.what == "removed":
                removed.add(entry.version)
            elif entry.what in SWITCHES:
                were |= {number for number in (entry.version, entry.previous) if number is not None}

        def state(number: int) -> State:
            if now is not None and number == now.version:
                return "champion"
            if number in were:
                return "former champion"
            verdict = verdicts.get(number)
            has_lost = verdict is not None and verdict.outcome == "not passed"
            return "rejected" if declined.get(number) or has_lost else "candidate"

        versions = tuple(
            Version(
                **dict(registered),
                state=state(number),
                measured=known.measurements.get(number, [None])[-1],
                verdict=verdicts.get(number),
                has_files=number not in removed,
            )
            for number, registered in sorted(known.registered.items(), reverse=True)
        )
        damage += [in_service_damage] if in_service_damage else []
        return cls(models, versions, now, tuple(reversed(entries)), known, in_service_damage, tuple(damage))

    def require_whole(self) -> Self:
        """Return the registry. Raises DataError if something of it is damaged or lost."""
        if self.damage:
            raise DataError("\n".join(self.damage))
        return self

    @property
    def reference(self) -> int | None:
        """The number of the reference, which a candidate must be no worse than; None if no version ever was in service."""
        return reference_of(reversed(self.history))

    @property
    def looks(self) -> Looks:
        """How often the held-out lesions that judged last have judged, and what that has spent."""
        return Looks.of(reversed(self.history))

    @property
    def champion(self) -> Version | None:
        """The version in service, None if none is."""
        return next((version for version in self.versions if version.state == "champion"), None)

    @property
    def waiting(self) -> Version | None:
        """The newest version that may come into service after the one that is: neither lost nor declined, and newer."""
        now = self.in_service
        return next(
            (
                one
                for one in self.versions
                if now is not None and one.number > now.version and one.state == "candidate" and one.has_files
            ),
            None,
        )

    def version(self, number: int) -> Version:
        """Return a version by its number. Raises DataError if there is none."""
        found = next((version for version in self.versions if version.number == number), None)
        if found is None:
            self.require_whole()
            raise DataError(f"There is no version {number} in {self.models}. `skinlesion models list` shows them.")
        return found

    def whole_candidate(self, number: int) -> Candidate | None:
        """Return the candidate of a version; None if its files are missing or not those that were registered.

        Raises DataError if the candidate's record does not fit.
        """
        version = self.version(number)
        candidate = Candidate(layout.candidate(self.models, version.run))
        training = candidate.read_training()
        return candidate if training is not None and training.sha256 == version.sha256 else None

    def of_version(self, number: int) -> tuple[HistoryEntry, ...]:
        """Return the entries that concern a version, newest first."""
        return tuple(entry for entry in self.history if number in (entry.version, entry.previous))

    def trend(self, name: str) -> tuple[TrendPoint, ...]:
        """Return a figure of `versions.FIGURES` over the nights, oldest first."""
        return tuple(
            TrendPoint(one.at, line.number, one.figures.get(name, Figure()), one.held_out_version)
            for line in self.known.measured
            for one in (line.measured,)
        )

    @property
    def last_in_service(self) -> int | None:
        """The number of the version in service or, where that cannot be read, of the one that was put there last."""
        if self.in_service is not None or not self.in_service_damage:
            return self.in_service.version if self.in_service is not None else None
        return next((entry.version for entry in self.history if entry.what in SWITCHES), None)

    @property
    def rollback_target(self) -> Version | None:
        """The version that a rollback without a number goes to, None if there is none.

        Each rollback goes one promotion further back: what was rolled back from is not gone back to. Where the release in
        service is damaged and no other version was there before, it goes to the same version, which is put there anew.
        """
        were: list[int] = []
        for entry in reversed(self.history):
            if entry.what == "promoted":
                if not were and entry.previous is not None:
                    were.append(entry.previous)
                were.append(entry.version)
            elif entry.what == "rolled back":
                were = were[: were.index(entry.version) + 1] if entry.version in were else [*were, entry.version]
        numbers = {version.number: version for version in self.versions}
        known = [number for number in were if number in numbers and numbers[number].has_files]
        earlier = [number for number in known if number != self.last_in_service]
        if not earlier and self.in_service_damage:
            earlier = known
        return numbers[earlier[-1]] if earlier else None
