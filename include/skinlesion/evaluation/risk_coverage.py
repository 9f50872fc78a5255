"""What is won by not answering: error and balanced accuracy of the images that a model is surest of."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, FiguresOfSums, draw, widened
from skinlesion.evaluation.metrics import balanced_accuracy, fewest_lesions
from skinlesion.evaluation.scored_images import Bools, Floats, ScoredImages

STEPS: Final = 50
"""Points of the curve."""
ABSTAINED: Final = 0.2
"""The share of images whose abstaining is priced."""
FEWEST_OF_A_CLASS: Final = 5
"""Images of a class below which a balanced accuracy of the rest is noise and is not drawn."""


def risk_coverage(
    scored: ScoredImages, confidence: Floats | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Give the curve, the area under its error and what abstaining on the least certain 20 % gains.

    The images are kept from the most confident on, as in El-Yaniv & Wiener, "On the foundations of noise-free selective
    classification", JMLR 11:1605, 2010. confidence: (n,), by which the decision rule abstains; the probability of the
    likeliest class where there is no rule. `curve` has `coverage`,
    `error` (share of the kept that is wrong) and `balanced_accuracy` (over the classes of the whole set; None where one has
    fewer than five images left). `area` is the mean error over all coverages (AURC, Geifman & El-Yaniv, ICLR 2019). `gain`
    has `balanced_accuracy` kept less all, its 95 % interval, and `error` all less kept; which images are kept is taken
    as given in the resamples.
    """
    order = np.argsort(-(scored.confidence if confidence is None else confidence), kind="stable")
    wrong = ~scored.right[order]
    errors = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    ends = np.unique(np.ceil(np.arange(1, STEPS + 1) / STEPS * len(scored)).astype(int))
    curve = [
        {
            "coverage": float(end / len(scored)),
            "error": float(errors[end - 1]),
            "balanced_accuracy": _balanced_accuracy_of(scored, order[:end]),
        }
        for end in ends
    ]
    kept = np.zeros(len(scored), dtype=bool)
    kept[order[: max(1, round((1 - ABSTAINED) * len(scored)))]] = True
    return {"curve": curve, "area": float(errors.mean()), "gain": _gain(scored, kept, resamples, seed)}


def _balanced_accuracy_of(scored: ScoredImages, at: Any) -> float | None:
    part = scored.part(at)
    counts = np.bincount(part.labels, minlength=len(LABELS))
    is_enough = all(counts[index] >= FEWEST_OF_A_CLASS for index in np.unique(scored.labels))
    return balanced_accuracy(part) if is_enough else None


def _gain(scored: ScoredImages, kept: Bools, resamples: int, seed: int) -> dict[str, Any]:
    before, after = balanced_accuracy(scored), _balanced_accuracy_of(scored, np.flatnonzero(kept))
    interval = None
    if after is not None:
        drawn = draw([_gain_statistic(scored, kept)], scored.lesions, resamples, seed)["gain"]
        interval = widened(drawn, fewest_lesions(scored, "balanced_accuracy"))
    return {
        "abstained": float(1 - kept.mean()),
        "balanced_accuracy": None if after is None else after - before,
        "interval": interval,
        "kept_balanced_accuracy": after,
        "error": float(np.mean(~scored.right) - np.mean(~scored.right[kept])),
    }


def _gain_statistic(scored: ScoredImages, kept: Bools) -> FiguresOfSums:
    classes, present = len(LABELS), np.unique(scored.labels)
    # For each class: images and hits of all, then of those kept.
    counts = np.zeros((scored.lesions, 4 * classes))
    for number, chosen in enumerate((np.ones_like(kept), scored.right, kept, kept & scored.right)):
        np.add.at(counts, (scored.groups, number * classes + scored.labels), chosen.astype(np.float64))

    def gain(sums: Floats) -> dict[str, Floats]:
        images, hits, images_kept, hits_kept = sums.reshape(-1, 4, classes)[..., present].transpose(1, 0, 2)
        return {"gain": (hits_kept / images_kept).mean(axis=1) - (hits / images).mean(axis=1)}

    return FiguresOfSums(counts, gain)
