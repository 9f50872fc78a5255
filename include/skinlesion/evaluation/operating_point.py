"""What the model does at the threshold for malignant that training chose."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, Drawn, FiguresOfSums, Interval, all_or_none, bca, draw
from skinlesion.evaluation.scored_images import Floats, ScoredImages
from skinlesion.registry.metrics_record import OperatingPoint, PredictiveValues

PREVALENCES: Final = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Shares of malignant lesions where such a tool would be used; in a collection of excised lesions it is far higher."""

SHARES: Final = ("sensitivity", "specificity")


def operating_statistic(scored: ScoredImages, threshold: float) -> FiguresOfSums:
    """Return sensitivity and specificity of `P(malignant) >= threshold`, malignant against the rest."""
    called, malignant = scored.scores >= threshold, scored.malignant
    cells = (malignant & called, malignant & ~called, ~malignant & ~called, ~malignant & called)
    counts = np.stack([np.bincount(scored.groups, cell, scored.lesions) for cell in cells], axis=1)
    return FiguresOfSums(counts.astype(np.float64), _shares)


def _shares(sums: Floats) -> dict[str, Floats]:
    caught, missed, cleared, alarmed = sums.T
    return {"sensitivity": caught / (caught + missed), "specificity": cleared / (cleared + alarmed)}


def share_interval(scored: ScoredImages, name: str, drawn: Drawn) -> Interval | None:
    """Return the interval of a sensitivity or specificity; None where fewer than two lesions are of its side."""
    lesions = scored.lesions_of(scored.malignant if name == "sensitivity" else ~scored.malignant)
    if lesions < 2 or not np.isfinite(drawn.point) or not len(drawn.values):
        return None
    return all_or_none(drawn.point, lesions) if drawn.point in (0.0, 1.0) else bca(drawn)


def operating_point(
    scored: ScoredImages, threshold: float, target: float | None, *, resamples: int = RESAMPLES, seed: int = 0
) -> OperatingPoint:
    """Return sensitivity, specificity and predictive values at a threshold that was fixed beforehand.

    `ppv` and `npv` are those of the held-out images, whose share of malignant images is `prevalence`. `at_prevalence` has
    them for other shares by Bayes' rule from sensitivity and specificity, with intervals from the pairs of each resample.

    target: sensitivity that the threshold was chosen for.
    """
    found = draw([operating_statistic(scored, threshold)], scored.lesions, resamples, seed)
    intervals = {name: share_interval(scored, name, found[name]) for name in SHARES}
    called, malignant = scored.scores >= threshold, scored.malignant
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target,
        sensitivity=_number(found["sensitivity"].point),
        specificity=_number(found["specificity"].point),
        intervals=intervals,
        called_malignant=int(called.sum()),
        caught=int((called & malignant).sum()),
        missed=int((~called & malignant).sum()),
        prevalence=float(malignant.mean()),
        ppv=_ratio((called & malignant).sum(), called.sum()),
        npv=_ratio((~called & ~malignant).sum(), (~called).sum()),
        at_prevalence=[_at_prevalence(share, found, intervals) for share in PREVALENCES],
    )


def _at_prevalence(
    prevalence: float, found: dict[str, Drawn], intervals: dict[str, Interval | None]
) -> PredictiveValues:
    sensitivity, specificity = (found[name] for name in SHARES)
    varies = all(0 < share.point < 1 for share in (sensitivity, specificity))
    points: dict[str, float | None] = {}
    bounds: dict[str, Interval | None] = {}
    for name, function in (("ppv", _ppv), ("npv", _npv)):
        points[name] = _number(
            float(function(np.float64(sensitivity.point), np.float64(specificity.point), prevalence))
        )
        ends: Any = None
        if points[name] is not None and None not in intervals.values():
            values = function(sensitivity.values, specificity.values, prevalence)
            # Both values grow with either share, so where resampling shows no variation the ends of its interval bound them.
            ends = np.nanquantile(values, [0.025, 0.975]) if varies else None
            if ends is None:
                ends = function(np.array(intervals["sensitivity"]), np.array(intervals["specificity"]), prevalence)
        bounds[name] = [float(end) for end in ends] if ends is not None and np.isfinite(ends).all() else None
    return PredictiveValues(prevalence=prevalence, ppv=points["ppv"], npv=points["npv"], intervals=bounds)


def _ppv(sensitivity: Any, specificity: Any, prevalence: float) -> Any:
    with np.errstate(invalid="ignore"):
        return sensitivity * prevalence / (sensitivity * prevalence + (1 - specificity) * (1 - prevalence))


def _npv(sensitivity: Any, specificity: Any, prevalence: float) -> Any:
    with np.errstate(invalid="ignore"):
        return specificity * (1 - prevalence) / (specificity * (1 - prevalence) + (1 - sensitivity) * prevalence)


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
