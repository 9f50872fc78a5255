"""Two models on the same lesions: the difference of their figures with a bound and an interval.

Both models answer for the same lesions, so what makes a set of lesions easy or hard cancels. Differences of shares of images, and of
balanced accuracy, which is a mean of shares, are those of `skinlesion.evaluation.shares`; the gate (`compare`) takes their one-sided
bound, the report (`paired_differences`) their interval. The other figures take a paired bootstrap over lesions with widened
percentiles (`skinlesion.evaluation.lesion_bootstrap`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, widened
from skinlesion.evaluation.metrics import draw_figures, fewest_lesions
from skinlesion.evaluation.scored_images import Bools, Floats, Ints, ScoredImages
from skinlesion.evaluation.shares import (
    Interval,
    PairedShares,
    change_of_balanced_accuracy,
    mean_lower,
    mean_p_worse,
    paired_recalls,
    recalls,
)
from skinlesion.registry.metrics_record import PairedFigure, Verdict

MORE_IS_BETTER: Final = {
    "balanced_accuracy": True,
    "malignant_auroc": True,
    "macro_f1": True,
    "accuracy": True,
    "sensitivity": True,
    "specificity": True,
    "expected_calibration_error": False,
}
"""Figures that the report compares, and whether a higher value of each is better."""


@dataclass(frozen=True)
class Difference:
    """A figure of both models on the same images, and candidate minus the other one.

    Attributes:
        candidate, other, difference: the figure of either, and the first minus the second.
        lower: one-sided lower bound of that difference.
        p_worse: p-value of "the candidate is worse by the margin or more".
        p_no_better: p-value of "the candidate is no better".
        lesions: number of those of the rarest class that it depends on.
    """

    candidate: float
    other: float
    difference: float
    lower: float
    p_worse: float
    p_no_better: float
    lesions: int


@dataclass(frozen=True)
class Decided:
    """The answers of a model for n images.

    predicted: (n,) int64, the likeliest class of each image, an index into `LABELS`. positive: (n,) bool, whether the model
    calls the image malignant at its operating point.
    """

    predicted: Ints
    positive: Bools

    @classmethod
    def of(cls, probabilities: Floats, threshold: float) -> Decided:
        """Return what follows from probabilities (n, 3) and the threshold for malignant."""
        return cls(probabilities.argmax(axis=1), probabilities[:, LABELS.index(MALIGNANT)] >= threshold)


def compare(
    labels: Ints,
    lesions: npt.ArrayLike,
    candidate: Decided,
    other: Decided,
    *,
    confidence: float,
    margins: tuple[float, float] = (0.0, 0.0),
) -> tuple[Difference, Difference | None]:
    """Return the differences in balanced accuracy and in sensitivity for malignant at the operating points.

    The second is None where no image is malignant.

    Args:
        labels: (n,) int64, indices into `LABELS`; at least one.
        lesions: n names.
        candidate: answers for the n images.
        other: answers of the model beside it for the same n images.
        confidence: of the one-sided bound; at 0.5 it is the difference itself, but where no image shows one.
        margins: of balanced accuracy and of sensitivity, by which the candidate may be worse.
    """
    groups = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
    malignant = labels == LABELS.index(MALIGNANT)
    of_class = paired_recalls(labels, candidate.predicted, other.predicted, groups)
    differences = [pair.difference for pair in of_class]
    accuracy = Difference(
        candidate=float(np.mean([share.point for share in recalls(labels, candidate.predicted, groups)])),
        other=float(np.mean([share.point for share in recalls(labels, other.predicted, groups)])),
        difference=float(np.mean(differences)),
        lower=mean_lower(differences, [pair.lower(confidence) for pair in of_class]),
        p_worse=mean_p_worse(of_class, margins[0]),
        p_no_better=mean_p_worse(of_class, 0.0),
        lesions=min(pair.lesions for pair in of_class),
    )
    if not malignant.any():
        return accuracy, None
    pair = PairedShares.of(candidate.positive[malignant], other.positive[malignant], groups[malignant])
    return accuracy, Difference(
        candidate=float(candidate.positive[malignant].mean()),
        other=float(other.positive[malignant].mean()),
        difference=pair.difference,
        lower=pair.lower(confidence),
        p_worse=pair.p_worse(margins[1]),
        p_no_better=pair.p_worse(0.0),
        lesions=pair.lesions,
    )


def paired_differences(
    new: ScoredImages, old: ScoredImages, thresholds: tuple[float, float], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, PairedFigure]:
    """Return, for each figure that both models have, `difference` (new minus old), its 95 % `interval` and a `verdict`.

    `verdict` is better or worse where the interval excludes 0, else "no clear difference"; without an interval it "cannot be
    told". A figure that depends on a single lesion of a class has no interval.

    thresholds: of the new and of the old model, each at its own. Raises ValueError when the images are not the same.
    """
    if not (np.array_equal(new.labels, old.labels) and np.array_equal(new.groups, old.groups)):
        raise ValueError("a paired comparison needs the same images, in the same order, of both models")
    found = _share_differences(new, old, thresholds)
    drawn = [draw_figures(model, resamples=resamples, seed=seed) for model in (new, old)]
    for name in drawn[0]:
        difference = drawn[0][name] - drawn[1][name]
        found[name] = difference.point, widened(difference, fewest_lesions(new, name))
    return {name: _row(new, name, *found[name]) for name in MORE_IS_BETTER if np.isfinite(found[name][0])}


def _share_differences(
    new: ScoredImages, old: ScoredImages, thresholds: tuple[float, float]
) -> dict[str, tuple[float, Interval | None]]:
    """Return the difference and the interval of each figure that is a share of images or a mean of such."""
    called = [model.scores >= threshold for model, threshold in zip((new, old), thresholds, strict=True)]
    malignant, groups = new.malignant, new.groups
    pairs = {
        "accuracy": PairedShares.of(new.right, old.right, groups),
        "sensitivity": PairedShares.of(called[0][malignant], called[1][malignant], groups[malignant]),
        "specificity": PairedShares.of(~called[0][~malignant], ~called[1][~malignant], groups[~malignant]),
    }
    found: dict[str, tuple[float, Interval | None]] = {
        name: (pair.difference, pair.interval()) for name, pair in pairs.items()
    }
    found["balanced_accuracy"] = change_of_balanced_accuracy(new.labels, new.predicted, old.predicted, groups)
    return found


def _row(images: ScoredImages, name: str, difference: float, interval: Interval | None) -> PairedFigure:
    interval = interval if fewest_lesions(images, name) > 1 else None
    return PairedFigure(
        difference=difference, interval=interval, verdict=_verdict(interval, more_is_better=MORE_IS_BETTER[name])
    )


def _verdict(interval: Interval | None, *, more_is_better: bool) -> Verdict:
    if interval is None:
        return "cannot be told"
    if interval[0] <= 0 <= interval[1]:
        return "no clear difference"
    return "better" if (interval[0] > 0) == more_is_better else "worse"
