"""What the monitor found, as a record: the page in Airflow reads it, so nothing heavy is imported here."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import ConfigDict, Field

from skinlesion.foundation.record import Record, RecordPart
from skinlesion.registry.figure import Figure

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


class Part(RecordPart):
    """Part of the record, without NaN."""

    model_config = ConfigDict(allow_inf_nan=False)


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
        sentence: what was found. remedy: what a person does.
    """

    signal: str
    side: str
    monday: str
    since: str
    sentence: str
    remedy: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What an alarm is known by: while it stays, people are notified once."""
        return self.signal, self.side, self.since


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
