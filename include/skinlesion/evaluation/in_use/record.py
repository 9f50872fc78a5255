"""What the monitor found, as a record: the page in Airflow reads it, so nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Final

from pydantic import Field

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record
from skinlesion.registry.figure import Figure, Part
from skinlesion.registry.group_decisions import DECISIONS

SIGNALS: Final = {
    "p_malignant": "P(malignant)",
    "called_malignant": "Share called malignant",
    "no_answer": "Share without an answer",
    "distance": "Distance from the training images",
    "brightness": "Brightness",
    "brightness_spread": "Contrast",
    "red": "Red",
    "green": "Green",
    "blue": "Blue",
    "saturation": "Saturation",
    "size": "Size in pixels",
}
"""What is compared with the held-out images, and how people read it."""

PERFORMANCE: Final = {
    "malignant_auroc": "Malignant AUROC",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity for malignant",
}
"""The figures that are estimated and measured. The sensitivity is that at the model's own threshold."""


class Effect(Part):
    """How far the mean of a week lies from that of the held-out images, in their standard deviations, with its 99 % interval."""

    value: float
    low: float
    high: float


class Week(Part):
    """The answers of one version in one week.

    Attributes:
        monday: the first day, ISO 8601 (UTC).
        is_over: whether the week was over when the monitor ran. Alarms are given for weeks that are over.
        version: the run that trained the model. number: in the registry, 0 for none.
        images, cases: answers, and how many of them count as independent: one a case or, without a case, a picture.
        learnt: answers for pictures that the model learnt from; they are left out of all figures.
        no_answer, called_malignant: shares of the answers.
        effects: by name of `SIGNALS`; empty if there is nothing to compare with, which `note` says.
        moved: how far the pictures have moved from the held-out ones, 0 (not at all) to 1; it widens the intervals of `estimated`.
        estimated, measured: by name of `PERFORMANCE`, with 95 % intervals; measured on `diagnosed` images.
    """

    monday: str
    is_over: bool
    version: str
    number: int
    images: int
    cases: int
    learnt: int = 0
    no_answer: float = 0.0
    called_malignant: float = 0.0
    effects: dict[str, Effect] = Field(default_factory=dict)
    moved: float = 0.0
    estimated: dict[str, Figure] = Field(default_factory=dict)
    measured: dict[str, Figure] = Field(default_factory=dict)
    diagnosed: int = 0
    note: str = ""


class Alarm(Part):
    """A rule that held at the end of a week.

    Attributes:
        signal: a name of `SIGNALS` or `PERFORMANCE`. side: `above` or `below` what was held out.
        monday: of the last week that it is about. since: of the week in which it was first given without a break.
        sentence: what was found. remedy: what a person does. is_noticed: whether a notice of it was given.
    """

    signal: str
    side: str
    monday: str
    since: str
    sentence: str
    remedy: str
    is_noticed: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """What an alarm is known by: while it stays, people are notified once."""
        return self.signal, self.side, self.since


def by_remedy(alarms: Iterable[Alarm]) -> dict[str, list[Alarm]]:
    """Return what a person does, with the alarms for which it is to be done: one cause often moves several signals."""
    found: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        found.setdefault(alarm.remedy, []).append(alarm)
    return found


class MonitorRecord(Record):
    """What the monitor found in the log.

    Attributes:
        at: when it ran, ISO 8601.
        entries: of the log. missing: answers that are known not to be in it.
        diagnoses: late ones that were noted, of which some may fit no entry.
        reference: the figures of the held-out images by version, by name of `PERFORMANCE`.
        weeks: oldest first. alarms: those that hold now. past: those that held at the end of earlier weeks, and no longer do.
        warnings: what a reader must know.
    """

    remedy: ClassVar[str] = "Remove it: the next run of the monitor writes it anew from the prediction log."

    at: str
    entries: int
    missing: int
    diagnoses: int
    reference: dict[str, dict[str, Figure]]
    weeks: tuple[Week, ...]
    alarms: tuple[Alarm, ...]
    past: tuple[Alarm, ...] = ()
    warnings: tuple[str, ...] = ()


class Agreement(Part):
    """What a candidate in the shadow said of real pictures, beside the answers of the version in service.

    Attributes:
        number: of the candidate. against: of the version that answered. Both as in the registry.
        first, last: days (UTC) of the first and the last picture.
        pictures, cases: on which it is compared; without a case a picture counts as one.
        not_asked: answers of that time that the log has without the candidate's.
        learnt: pictures that either learnt from; they are left out.
        alike: share of the pictures on which both decided alike.
        counts: pictures by the decision of the version in service, then by that of the candidate.
        differ: pictures on which they differ. diagnosed: how many of these have a diagnosis.
        right, right_in_service: shares of the diagnosed ones on which either is right; no answer is not right.
    """

    number: int
    against: int
    first: str
    last: str
    pictures: int
    cases: int
    not_asked: int
    learnt: int
    alike: Figure
    counts: dict[str, dict[str, int]]
    differ: int
    diagnosed: int
    right: Figure
    right_in_service: Figure

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it says, for people."""
        candidate, other = f"version {self.number}", f"version {self.against}"
        said = [
            f"In the shadow of {other}, from {self.first} to {self.last}, {candidate} was asked about {self.pictures:,} real pictures of "
            f"{self.cases:,} cases. Share decided alike: {self.alike.text}."
        ]
        if self.not_asked:
            said.append(f"About {self.not_asked:,} more of that time it was not asked.")
        if self.learnt:
            said.append(f"{self.learnt:,} more, from which one of the two learnt, are left out.")
        if not self.differ:
            said.append("They differ on none.")
        elif not self.diagnosed:
            said.append(f"They differ on {self.differ:,}, and of none of these a diagnosis has come in.")
        else:
            said.append(
                f"They differ on {self.differ:,}; of {self.diagnosed:,} of these a diagnosis has come in. Share of them right: {candidate} "
                f"{self.right.text}, {other} {self.right_in_service.text}."
            )
        return tuple(said)

    @property
    def table(self) -> tuple[tuple[str, ...], ...]:
        """The counts as a table: a heading, then a line for each decision of the version in service."""
        heading = (f"version {self.against} / version {self.number}", *DECISIONS.values())
        rows = [
            (title, *(f"{self.counts.get(one, {}).get(other, 0):,}" for other in DECISIONS))
            for one, title in DECISIONS.items()
            if one in self.counts
        ]
        return heading, *rows


class ShadowRecord(Record):
    """What candidates in the shadow said, one agreement for each version that answered beside them, the oldest first.

    Attributes:
        at: when it was compared, ISO 8601.
    """

    remedy: ClassVar[str] = "Remove it: the next run of the monitor writes it anew from the prediction log."

    at: str
    agreements: tuple[Agreement, ...]

    @classmethod
    def known(cls, models: Path, number: int | None = None) -> tuple[tuple[Agreement, ...], str]:
        """Return what is known of a candidate, or of all, and why it cannot be read; empty if it can."""
        try:
            found = cls.read_if_there(layout.shadowed(models))
        except DataError as error:
            return (), str(error)
        return tuple(one for one in (found.agreements if found else ()) if number in (None, one.number)), ""
