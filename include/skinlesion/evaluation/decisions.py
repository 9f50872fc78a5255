"""What the decision rule does: which images it answers, why it does not answer others, and its decisions for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from skinlesion.data.labels.classes import LABELS, UNKNOWN
from skinlesion.evaluation.account import account, group_decisions
from skinlesion.evaluation.scored_images import Bools, Floats, ScoredImages
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.group_decisions import NO_ANSWER
from skinlesion.registry.metrics_record import Decisions, SmokeKind, SmokeSet

UNLIKE: Final = "unlike the training images"
UNSURE: Final = "confidence too low"

WITHHELD: Final = (NO_ANSWER, UNKNOWN)
"""Decisions that call a picture neither benign nor malignant."""


def abstained(rule: DecisionRule, probabilities: Floats, distances: Floats | None) -> dict[str, Bools]:
    """Return for each reason which images get no answer because of it, bool (n,); the first reason that holds counts.

    probabilities: (n, 3). distances: (n,) from the training images, None where the model computes none.
    """
    unlike = np.zeros(len(probabilities), dtype=bool)
    if rule.most_distance is not None and distances is not None:
        unlike = ~np.asarray(distances <= rule.most_distance)
    unsure = ~np.asarray(rule.confidence(probabilities) >= rule.least_confidence) & ~unlike
    return {UNLIKE: unlike, UNSURE: unsure}


def decisions_summary(
    scored: ScoredImages,
    decided: Sequence[str],
    reasons: dict[str, Bools],
    threshold: float,
    diagnoses: Sequence[str] | None = None,
) -> Decisions:
    """Return the shares that are answered and not, by reason, and what is said of each class and diagnosis.

    decided: the n decisions. reasons: from `abstained`. threshold: that of malignant. diagnoses: n names; None where they are not
    at hand.
    """
    answered = ~np.any(list(reasons.values()), axis=0)
    names, labels = np.asarray(decided, dtype=np.str_), np.asarray(LABELS)[scored.labels]
    return Decisions(
        images=len(scored),
        answered_share=float(answered.mean()),
        abstained_share={reason: float(which.mean()) for reason, which in reasons.items()},
        unknown_share=float(np.isin(names, WITHHELD).mean()),
        account=account(scored, decided, threshold),
        diagnoses=()
        if diagnoses is None
        else tuple(group_decisions(scored, names, np.asarray(diagnoses, dtype=np.str_), labels, threshold)),
    )


def smoke_summary(kinds: Sequence[str], decided: Sequence[str]) -> SmokeSet:
    """Return the share of pictures without a lesion that get no answer or are called unknown, in all and by kind, the lowest first."""
    unknown = np.isin(np.asarray(decided, dtype=np.str_), WITHHELD)
    names = np.asarray(kinds, dtype=np.str_)
    by_kind = [
        SmokeKind(kind=kind, pictures=int((names == kind).sum()), unknown_share=float(unknown[names == kind].mean()))
        for kind in dict.fromkeys(kinds)
    ]
    return SmokeSet(
        pictures=len(names),
        unknown_share=float(unknown.mean()),
        by_kind=sorted(by_kind, key=lambda row: (row.unknown_share, row.kind)),
    )
