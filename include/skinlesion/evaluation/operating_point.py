"""What the model does at the threshold for malignant that training chose."""

from __future__ import annotations

from typing import Final

import numpy as np

from skinlesion.evaluation.scored_images import Floats, ScoredImages
from skinlesion.evaluation.shares import Interval, Share
from skinlesion.registry.metrics_record import OperatingPoint, PredictiveValues

PREVALENCES: Final = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Shares of malignant lesions where such a tool would be used; in a collection of excised lesions it is far higher."""

SHARES: Final = ("sensitivity", "specificity")


def operating_shares(scored: ScoredImages, threshold: float) -> dict[str, Share]:
    """Return sensitivity and specificity of `P(malignant) >= threshold`, malignant against the rest."""
    called, malignant = scored.scores >= threshold, scored.malignant
    return {
        "sensitivity": Share.of(called[malignant], scored.groups[malignant]),
        "specificity": Share.of(~called[~malignant], scored.groups[~malignant]),
    }


def operating_point(scored: ScoredImages, threshold: float, target: float | None) -> OperatingPoint:
    """Return sensitivity, specificity and predictive values at a threshold that was fixed beforehand.

    `ppv` and `npv` are those of the held-out images, whose share of malignant images is `prevalence`. `at_prevalence` has
    them for other shares by Bayes' rule from sensitivity and specificity.

    target: sensitivity that the threshold was chosen for.
    """
    shares = operating_shares(scored, threshold)
    called, malignant = scored.scores >= threshold, scored.malignant
    return OperatingPoint(
        threshold=threshold,
        target_sensitivity=target,
        sensitivity=_number(shares["sensitivity"].point),
        specificity=_number(shares["specificity"].point),
        intervals={name: share.interval() if share.lesions > 1 else None for name, share in shares.items()},
        called_malignant=int(called.sum()),
        caught=int((called & malignant).sum()),
        missed=int((~called & malignant).sum()),
        prevalence=float(malignant.mean()),
        ppv=_ratio((called & malignant).sum(), called.sum()),
        npv=_ratio((~called & ~malignant).sum(), (~called).sum()),
        at_prevalence=[_at_prevalence(prevalence, shares) for prevalence in PREVALENCES],
    )


def _at_prevalence(prevalence: float, shares: dict[str, Share]) -> PredictiveValues:
    """Return the predictive values with intervals.

    The odds that a call is right are the odds of the prevalence times a ratio of two independent shares.
    """
    sensitivity, specificity = (shares[name] for name in SHARES)
    found, right = sensitivity.interval(), specificity.interval()
    if not (sensitivity.lesions and specificity.lesions):
        return PredictiveValues(prevalence=prevalence, ppv=None, npv=None, intervals={"ppv": None, "npv": None})
    odds = prevalence / (1 - prevalence)
    alarm, alarms = 1 - specificity.point, [1 - right[1], 1 - right[0]]
    miss, misses = 1 - sensitivity.point, [1 - found[1], 1 - found[0]]
    with np.errstate(divide="ignore", invalid="ignore"):
        points = {
            "ppv": odds * np.float64(sensitivity.point) / alarm,
            "npv": np.float64(specificity.point) / miss / odds,
        }
        ends = {
            "ppv": odds * _ratio_interval(sensitivity.point, found, alarm, alarms),
            "npv": _ratio_interval(specificity.point, right, miss, misses) / odds,
        }
    return PredictiveValues(
        prevalence=prevalence,
        ppv=_number(_of_odds(points["ppv"])),
        npv=_number(_of_odds(points["npv"])),
        intervals={name: [_of_odds(end) for end in both] for name, both in ends.items()},
    )


def _ratio_interval(above: float, above_ends: Interval, below: float, below_ends: Interval) -> Floats:
    """Return the interval of the ratio of two independent shares, (2,), from 0 to infinity.

    The squares of the distances of the logarithms add up (Zou & Donner, Stat. Med. 27:1693, 2008). Where a share is 0, the ends of
    both shares bound the ratio.
    """
    ratio = np.log(np.float64(above)) - np.log(np.float64(below))
    low = ratio - np.hypot(np.log(above / np.float64(above_ends[0])), np.log(below_ends[1] / np.float64(below)))
    high = ratio + np.hypot(np.log(above_ends[1] / np.float64(above)), np.log(below / np.float64(below_ends[0])))
    widest = np.array(above_ends) / np.array(below_ends[::-1])
    return np.where(np.isfinite([low, high]), np.exp([low, high]), widest)


def _of_odds(odds: float) -> float:
    """Return the probability of these odds; nan for nan."""
    return 1.0 if np.isinf(odds) else float(odds / (1 + odds))


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
