"""What abstaining gains: error and balanced accuracy of the images of which a model is surest."""

from __future__ import annotations

from typing import Final

import numpy as np

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, FiguresOfSums, draw, widened
from skinlesion.evaluation.metrics import balanced_accuracy, fewest_lesions
from skinlesion.evaluation.scored_images import Bools, Floats, Ints, ScoredImages
from skinlesion.registry.metrics_record import AbstainingGain, RiskCoverage, RiskPoint

STEPS: Final = 50
"""Number of points of the curve."""
ABSTAINED: Final = 0.2
"""Share of images without an answer for which the gain is measured."""
FEWEST_OF_A_CLASS: Final = 5
"""With fewer images of a class the balanced accuracy is noise and is not measured."""


def risk_coverage(scored: ScoredImages, confidence: Floats, *, resamples: int = RESAMPLES) -> RiskCoverage:
    """Return the curve, the area under its error, and what abstaining on the least certain 20 % gains.

    The images are kept from the most confident on, as in El-Yaniv & Wiener, "On the foundations of noise-free selective
    classification", JMLR 11:1605, 2010. confidence: (n,), by which the decision rule abstains. A point of `curve` has `coverage`,
    `error` (share of the kept images that is wrong) and `balanced_accuracy` (over the classes of the whole set; None where fewer
    than five images of one are left). `area` is the mean error over all coverages (AURC, Geifman & El-Yaniv, ICLR 2019). `gain` has
    `balanced_accuracy` of the kept images minus that of all, its 95 % interval, and `error` of all minus that of the kept; the
    resamples do not choose anew which images are kept.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = ~scored.right[order]
    errors = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    ends = np.unique(np.ceil(np.arange(1, STEPS + 1) / STEPS * len(scored)).astype(int))
    curve = [
        RiskPoint(
            coverage=float(end / len(scored)),
            error=float(errors[end - 1]),
            balanced_accuracy=_balanced_accuracy_of(scored, order[:end]),
        )
        for end in ends
    ]
    kept = np.zeros(len(scored), dtype=bool)
    kept[order[: max(1, round((1 - ABSTAINED) * len(scored)))]] = True
    return RiskCoverage(curve=curve, area=float(errors.mean()), gain=_gain(scored, kept, resamples))


def _balanced_accuracy_of(scored: ScoredImages, at: Ints) -> float | None:
    part = scored.part(at)
    counts = np.bincount(part.labels, minlength=len(LABELS))
    is_enough = all(counts[index] >= FEWEST_OF_A_CLASS for index in np.unique(scored.labels))
    return balanced_accuracy(part) if is_enough else None


def _gain(scored: ScoredImages, kept: Bools, resamples: int) -> AbstainingGain:
    before, after = balanced_accuracy(scored), _balanced_accuracy_of(scored, np.flatnonzero(kept))
    interval = None
    if after is not None:
        drawn = draw([_gain_statistic(scored, kept)], scored.lesions, resamples, seed=0)["gain"]
        interval = widened(drawn, fewest_lesions(scored, "balanced_accuracy"))
    return AbstainingGain(
        abstained=float(1 - kept.mean()),
        balanced_accuracy=None if after is None else after - before,
        interval=interval,
        kept_balanced_accuracy=after,
        error=float(np.mean(~scored.right) - np.mean(~scored.right[kept])),
    )


def _gain_statistic(scored: ScoredImages, kept: Bools) -> FiguresOfSums:
    classes, present = len(LABELS), np.unique(scored.labels)
    # For each class: images and hits of all images, then of those that are kept.
    counts = np.zeros((scored.lesions, 4 * classes))
    for number, chosen in enumerate((np.ones_like(kept), scored.right, kept, kept & scored.right)):
        np.add.at(counts, (scored.groups, number * classes + scored.labels), chosen.astype(np.float64))

    def gain(sums: Floats) -> dict[str, Floats]:
        images, hits, images_kept, hits_kept = sums.reshape(-1, 4, classes)[..., present].transpose(1, 0, 2)
        return {"gain": (hits_kept / images_kept).mean(axis=1) - (hits / images).mean(axis=1)}

    return FiguresOfSums(counts, gain)
