"""How far a week lies from the held-out images: effect sizes with intervals, which do not fire on size alone as p-values do.

The effect is the difference of the means in standard deviations of the held-out images (Glass's delta). Its interval takes images
of one case, or of one lesion, as one observation (cluster-robust variance), and has the chance of both samples in it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.stats import norm

from skinlesion.evaluation.in_use.record import SIGNALS, Effect
from skinlesion.evaluation.in_use.reference import SMALLEST_SPREAD, Reference, Seen
from skinlesion.evaluation.scored_images import Floats, Ints

LEVEL: Final = 0.99

FEWEST: Final = 10
"""Cases below which there are no effects: so few show too little of how much cases differ."""

OF_PICTURES: Final = ("distance", "brightness", "brightness_spread", "red", "green", "blue", "saturation")
"""The signals that say how far the pictures themselves have moved. The size is none: the model sees 224x224 pixels."""


def effects(seen: Seen, reference: Reference, level: float = LEVEL) -> dict[str, Effect]:
    """Return the effect of each signal that both have, by name; none of fewer than `FEWEST` cases."""
    if seen.independent < FEWEST:
        return {}
    mean, error = _mean_and_error(seen.signals, seen.groups)
    expected, its_error = _mean_and_error(reference.seen.signals, reference.seen.groups)
    spread = np.maximum(reference.seen.signals.std(axis=0), [SMALLEST_SPREAD.get(name, 1e-3) for name in SIGNALS])
    # At least what as many cases like the held-out ones would have: a week without any answer withheld varies in nothing.
    error = np.maximum(error, spread / np.sqrt(seen.independent))
    value = (mean - expected) / spread
    reach = norm.ppf((1 + level) / 2) * np.sqrt(error**2 + its_error**2) / spread
    return {
        name: Effect(value=float(v), low=float(v - r), high=float(v + r))
        for name, v, r in zip(SIGNALS, value, reach, strict=True)
        if np.isfinite(v) and np.isfinite(r)
    }


def beyond(effect: Effect) -> float:
    """Return by how much an effect is surely different from none, with its sign; 0 where its interval holds 0."""
    return effect.low if effect.low > 0 else effect.high if effect.high < 0 else 0.0


def moved(found: dict[str, Effect]) -> float:
    """Return how far the pictures have moved, 0 to 1: the share of two normal distributions so far apart that does not overlap.

    The signal that has moved most counts, and of it what is sure.
    """
    sure = max((abs(beyond(found[name])) for name in OF_PICTURES if name in found), default=0.0)
    return float(2 * norm.cdf(sure / 2) - 1)


def _mean_and_error(values: Floats, groups: Ints) -> tuple[Floats, Floats]:
    """Return the mean of each column of (n, k) values, and its standard error with each group as one observation."""
    mean = values.mean(axis=0)
    residuals = values - mean
    count = int(groups.max()) + 1
    sums = np.column_stack([np.bincount(groups, column, minlength=count) for column in residuals.T])
    correction = count / max(count - 1, 1)
    return mean, np.sqrt(correction * (sums**2).sum(axis=0)) / len(values)
