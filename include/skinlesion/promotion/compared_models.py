"""The models that the gate compares, and the held-out images that it may compare them on."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import layout
from skinlesion.prediction.measurable import Measurable, TooFewToJudge, UnknownWhatWasLearnt, measurable, read_learnt
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import LeftOut
from skinlesion.registry.snapshot import Registry


@dataclass(frozen=True)
class Champion:
    """What is in service, as far as the gate can compare with it.

    Attributes:
        number: number of its version, None if nothing is in service.
        candidate: the model's files; None if there is nothing to compare with.
        problem: why there is nothing to compare with; empty if nothing ever was in service.
    """

    number: int | None
    candidate: Candidate | None
    problem: str

    @classmethod
    def of(cls, registry: Registry) -> Champion:
        """Return what is in service."""
        now = registry.in_service
        if now is None:
            was = any(entry.switch for entry in registry.history)
            return cls(None, None, "The files of the model in service are missing" if was else "")
        candidate = Candidate(layout.candidate(registry.models, now.run))
        training = candidate.read_training()
        if training is None or now.candidate(registry.models) is None:
            return cls(
                now.version, None, f"Files of version {now.version}, which is in service, are missing or altered"
            )
        if training.classes != LABELS:
            classes = ", ".join(training.classes)
            return cls(now.version, None, f"Version {now.version}, which is in service, knows the classes {classes}")
        try:
            read_learnt(candidate)
        except UnknownWhatWasLearnt:
            problem = f"What version {now.version}, which is in service, learnt is not known"
            return cls(now.version, None, f"{problem} ({candidate.trained_on} is missing or altered)")
        return cls(now.version, candidate, "")


def measurable_by_both(
    config: PromotionSettings, rows: pd.DataFrame, candidate: Candidate, champion: Champion
) -> tuple[Measurable, str]:
    """Return the rows that both models may be measured on; without any, and why, if there are not enough."""
    models = [candidate, *([champion.candidate] if champion.candidate is not None else [])]
    try:
        return measurable(config.dataset, rows, models), ""
    except TooFewToJudge as error:
        return Measurable(rows, rows.head(0), error.left_out), str(error)
    except UnknownWhatWasLearnt as error:
        return Measurable(rows, rows.head(0), LeftOut()), str(error)
