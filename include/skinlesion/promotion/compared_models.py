"""The models that the gate compares a candidate with, and the held-out images that it may compare them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.measurable import Measurable, TooFewToJudge, UnknownWhatWasLearnt, measurable, read_learnt
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import LeftOut
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import Unjudged


@dataclass(frozen=True)
class Compared:
    """The model in service or the reference, as far as the gate can compare with it.

    Attributes:
        number: of its version, None if there is none.
        candidate: the model's files; None if there is nothing to compare with.
        problem: why there is nothing to compare with; empty if there never was such a model.
    """

    number: int | None
    candidate: Candidate | None = None
    problem: str = ""

    @classmethod
    def in_service(cls, registry: Registry) -> Compared:
        """Return what is in service."""
        now = registry.in_service
        if now is None:
            was = any(entry.switch for entry in registry.history)
            return cls(None, None, "The files of the model in service are missing" if was else "")
        is_whole = now.candidate(registry.models) is not None
        return _whole(
            now.version, "which is in service", Candidate(layout.candidate(registry.models, now.run)), is_whole
        )

    @classmethod
    def reference(cls, registry: Registry, champion: Compared) -> Compared:
        """Return the reference: the model in service itself where it is both."""
        number = registry.reference
        if number is None or number == champion.number:
            return champion
        candidate = Candidate(layout.candidate(registry.models, registry.version(number).run))
        try:
            is_whole = registry.whole_candidate(number) is not None
        except DataError:
            is_whole = False
        return _whole(number, "the reference", candidate, is_whole)


def _whole(number: int, what: str, candidate: Candidate, is_whole: bool) -> Compared:
    """Return a version to compare with if its files are those that were registered, its classes ours, and what it learnt known."""
    training = candidate.read_training() if is_whole else None
    if training is None:
        return Compared(number, None, f"Files of version {number}, {what}, are missing or altered")
    if training.classes != LABELS:
        return Compared(number, None, f"Version {number}, {what}, knows the classes {', '.join(training.classes)}")
    try:
        read_learnt(candidate)
    except UnknownWhatWasLearnt:
        problem = f"What version {number}, {what}, learnt is not known"
        return Compared(number, None, f"{problem} ({candidate.trained_on} is missing or altered)")
    return Compared(number, candidate)


@dataclass(frozen=True)
class Unmeasured:
    """Why there is nothing to measure on: in words, and what a line of the verdict shows for it."""

    problem: str
    unjudged: Unjudged | None = None


def measurable_by_all(
    config: PromotionSettings, rows: pd.DataFrame, models: Sequence[Candidate | None]
) -> tuple[Measurable, Unmeasured | None]:
    """Return the rows that these models may be measured on; without any, and why, if there are not enough."""
    there = {model.folder: model for model in models if model is not None}
    try:
        return measurable(config.dataset, rows, [*there.values()]), None
    except TooFewToJudge as error:
        return Measurable(rows, rows.head(0), error.left_out), Unmeasured(str(error), "too few to judge")
    except UnknownWhatWasLearnt as error:
        return Measurable(rows, rows.head(0), LeftOut()), Unmeasured(str(error))
