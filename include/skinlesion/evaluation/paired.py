"""A candidate against the model in service on the same lesions, by a paired bootstrap over them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, widened
from skinlesion.evaluation.metrics import draw_figures, fewest_lesions
from skinlesion.evaluation.scored_images import ScoredImages

MORE_IS_BETTER: Final = {
    "balanced_accuracy": True,
    "malignant_auroc": True,
    "macro_f1": True,
    "accuracy": True,
    "sensitivity": True,
    "specificity": True,
    "expected_calibration_error": False,
}
"""Figures that are compared, and whether more of each is better."""


def paired_differences(
    new: ScoredImages,
    old: ScoredImages,
    thresholds: tuple[float | None, float | None],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Give, for each figure that both models have, `difference` (new less old), its 95 % `interval` and a `verdict`.

    Both models answer for the same images, and each resample takes the same lesions of both, so that what makes a set of
    lesions easy or hard cancels (Efron & Tibshirani 1993, ch. 8). `verdict` is better or worse where the interval is to
    one side of 0, else "no clear difference". `resamples_better` is the share of resamples in which the new one is ahead.

    thresholds: of the new and of the old model; each at its own. Raises ValueError when the images are not the same.
    """
    if not (np.array_equal(new.labels, old.labels) and np.array_equal(new.groups, old.groups)):
        raise ValueError("a paired comparison needs the same images, in the same order, of both models")
    drawn_new = draw_figures(new, thresholds[0], resamples=resamples, seed=seed)
    drawn_old = draw_figures(old, thresholds[1], resamples=resamples, seed=seed)
    rows: dict[str, Any] = {}
    for name, more_is_better in MORE_IS_BETTER.items():
        if name not in drawn_new or name not in drawn_old:
            continue
        drawn = drawn_new[name] - drawn_old[name]
        if not np.isfinite(drawn.point):
            continue
        interval = widened(drawn, fewest_lesions(new, name))
        values = drawn.values[np.isfinite(drawn.values)] * (1 if more_is_better else -1)
        rows[name] = {
            "difference": drawn.point,
            "interval": interval,
            "verdict": _verdict(interval, more_is_better),
            "resamples_better": float(np.mean(values > 0)) if len(values) else None,
        }
    return rows


def _verdict(interval: list[float] | None, more_is_better: bool) -> str:
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "no clear difference"
    return "better" if (interval[0] > 0) == more_is_better else "worse"
