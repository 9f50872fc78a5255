"""Two models on the same lesions: the difference of their figures with a bound and an interval from a paired bootstrap.

The bootstrap draws lesions with all their images (Field & Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69:369,
2007) and takes the same lesions for both models, so what makes a set of lesions easy or hard cancels (Efron & Tibshirani,
"An introduction to the bootstrap", 1993, ch. 8). Bounds and intervals are percentiles of the resampled differences;
resamples without a class that a figure needs are left out. The gate (`compare`) and the report (`paired_differences`) use
the same resamples. The report's two-sided interval is widened for few lesions; the gate's one-sided bound is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, Drawn, Interval, draw, widened
from skinlesion.evaluation.metrics import confusion_statistic, draw_figures, fewest_lesions
from skinlesion.evaluation.operating_point import operating_statistic
from skinlesion.evaluation.scored_images import Bools, Floats, Ints, ScoredImages
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
    """A figure of both models on the same images, and candidate minus champion.

    lower: one-sided lower bound of that difference. All are None where the figure is undefined because a class is missing.
    fewest: number of lesions of the rarest class that the figure depends on; of one, all resamples are alike.
    """

    candidate: float | None
    champion: float | None
    difference: float | None
    lower: float | None
    fewest: int = 0


@dataclass(frozen=True)
class Decided:
    """The answers of a model for n images.

    predicted: (n,) int64, the likeliest class of each image, an index into `LABELS`. positive: (n,) bool, whether the model
    calls the image malignant at its operating point.
    """

    predicted: Ints
    positive: Bools

    @classmethod
    def of(cls, probabilities: Floats, threshold: float | None) -> Decided:
        """Return what follows from probabilities (n, 3) and the threshold for malignant; None: the likeliest class."""
        predicted = probabilities.argmax(axis=1)
        malignant = LABELS.index(MALIGNANT)
        positive = predicted == malignant if threshold is None else probabilities[:, malignant] >= threshold
        return cls(predicted, positive)


def compare(
    labels: Ints,
    lesions: npt.ArrayLike,
    candidate: Decided,
    champion: Decided,
    *,
    confidence: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Difference, Difference]:
    """Return the differences in balanced accuracy and in sensitivity for malignant at the operating points.

    Args:
        labels: (n,) int64, indices into `LABELS`.
        lesions: n names.
        candidate: answers for the n images.
        champion: answers for the same n images.
        confidence: of the one-sided bound; at 0.5 it is about the difference itself.
        resamples: number of resamples.
        seed: equal input and seed give equal bounds.
    """
    groups = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)[1].astype(np.int64)
    new, old = (_draw_decided(labels, groups, decided, resamples, seed) for decided in (candidate, champion))
    images = ScoredImages(labels, np.eye(len(LABELS))[labels], groups)
    accuracy, sensitivity = (
        _bounded(new[name], old[name], confidence, fewest_lesions(images, name))
        for name in ("balanced_accuracy", "sensitivity")
    )
    return accuracy, sensitivity


def paired_differences(
    new: ScoredImages,
    old: ScoredImages,
    thresholds: tuple[float | None, float | None],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, PairedFigure]:
    """Return, for each figure that both models have, `difference` (new minus old), its 95 % `interval` and a `verdict`.

    `verdict` is better or worse where the interval excludes 0, else "no clear difference"; without an interval it "cannot be
    told". `resamples_better` is the share
    of resamples in which the new model is ahead. A figure that depends on a single lesion of a class has no interval.

    thresholds: of the new and of the old model, each at its own. Raises ValueError when the images are not the same.
    """
    if not (np.array_equal(new.labels, old.labels) and np.array_equal(new.groups, old.groups)):
        raise ValueError("a paired comparison needs the same images, in the same order, of both models")
    drawn_new = draw_figures(new, thresholds[0], resamples=resamples, seed=seed)
    drawn_old = draw_figures(old, thresholds[1], resamples=resamples, seed=seed)
    shared = [name for name in MORE_IS_BETTER if name in drawn_new and name in drawn_old]
    return {
        name: _row(drawn_new[name] - drawn_old[name], MORE_IS_BETTER[name], fewest_lesions(new, name))
        for name in shared
        if np.isfinite(drawn_new[name].point - drawn_old[name].point)
    }


def _draw_decided(labels: Ints, groups: Ints, decided: Decided, resamples: int, seed: int) -> dict[str, Drawn]:
    """Return balanced accuracy and sensitivity at the operating point with their bootstraps."""
    certain, malignant = np.eye(len(LABELS)), LABELS.index(MALIGNANT)
    named = ScoredImages(labels, certain[decided.predicted], groups)
    called = replace(named, probabilities=certain[np.where(decided.positive, malignant, malignant - 1)])
    return draw([confusion_statistic(named), operating_statistic(called, 0.5)], named.lesions, resamples, seed)


def _bounded(new: Drawn, old: Drawn, confidence: float, lesions: int) -> Difference:
    difference = new - old
    values = difference.values[np.isfinite(difference.values)]
    if not len(values) or not np.isfinite(difference.point):
        return Difference(None, None, None, None)
    return Difference(new.point, old.point, difference.point, float(np.quantile(values, 1 - confidence)), lesions)


def _row(difference: Drawn, more_is_better: bool, lesions: int) -> PairedFigure:
    interval = widened(difference, lesions)
    values = difference.values[np.isfinite(difference.values)] * (1 if more_is_better else -1)
    return PairedFigure(
        difference=difference.point,
        interval=interval,
        verdict=_verdict(interval, more_is_better),
        resamples_better=float(np.mean(values > 0)) if len(values) else None,
    )


def _verdict(interval: Interval | None, more_is_better: bool) -> Verdict:
    if interval is None:
        return "cannot be told"
    if interval[0] <= 0 <= interval[1]:
        return "no clear difference"
    return "better" if (interval[0] > 0) == more_is_better else "worse"
