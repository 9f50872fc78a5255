"""What the decision rule does: which images it answers, why it does not answer others, and its decisions for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from skinlesion.data.labels.classes import LABELS, UNKNOWN
from skinlesion.evaluation.scored_images import Bools, Floats, Ints
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.metrics_record import Decisions, SmokeKind, SmokeSet

UNLIKE: Final = "unlike the training images"
UNSURE: Final = "confidence too low"


def abstained(rule: DecisionRule, probabilities: Floats, distances: Floats | None) -> dict[str, Bools]:
    """Return for each reason which images get no answer because of it, bool (n,); the first reason that holds counts.

    probabilities: (n, 3). distances: (n,) from the training images, None where the model computes none.
    """
    unlike = np.zeros(len(probabilities), dtype=bool)
    if rule.most_distance is not None and distances is not None:
        unlike = ~np.asarray(distances <= rule.most_distance)
    unsure = ~np.asarray(rule.confidence(probabilities) >= rule.least_confidence) & ~unlike
    return {UNLIKE: unlike, UNSURE: unsure}


def decisions_summary(labels: Ints, decided: Sequence[str], reasons: dict[str, Bools]) -> Decisions:
    """Return the shares that are answered and not, by reason, and the decisions for each class of diagnosis.

    decided: n of malignant, benign, unknown. reasons: from `abstained`. An answer may be `unknown` as well: where the class
    of indeterminate diagnoses is the likeliest.
    """
    answered = ~np.any(list(reasons.values()), axis=0)
    names = np.asarray(decided, dtype=np.str_)
    by_class = {}
    for index, label in enumerate(LABELS):
        counts = Counter(names[labels == index].tolist())
        by_class[label] = {"images": int(sum(counts.values())), **{name: counts.get(name, 0) for name in LABELS}}
    return Decisions(
        images=len(labels),
        answered_share=float(answered.mean()),
        abstained_share={reason: float(which.mean()) for reason, which in reasons.items()},
        unknown_share=float(np.mean(names == UNKNOWN)),
        by_class=by_class,
    )


def smoke_summary(kinds: Sequence[str], decided: Sequence[str]) -> SmokeSet:
    """Return the share of pictures without a lesion that are decided `unknown`, in all and by kind, the lowest first."""
    unknown = np.asarray(decided, dtype=np.str_) == UNKNOWN
    names = np.asarray(kinds, dtype=np.str_)
    by_kind = [
        SmokeKind(kind=kind, pictures=int((names == kind).sum()), unknown_share=float(unknown[names == kind].mean()))
        for kind in dict.fromkeys(kinds)
    ]
    return SmokeSet(
        pictures=len(names),
        unknown_share=float(unknown.mean()) if len(names) else None,
        by_kind=sorted(by_kind, key=lambda row: (row.unknown_share, row.kind)),
    )
