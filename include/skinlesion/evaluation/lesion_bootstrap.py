"""95 % intervals from a bootstrap over lesions.

Images of one lesion are not independent, so whole lesions are drawn (Field & Welsh, "Bootstrapping clustered data",
J. R. Stat. Soc. B 69:369, 2007). A resample is how often each lesion counts; a statistic gives its figures for many
resamples at once, and by how much each lesion changes them.

The intervals are bias-corrected and accelerated (BCa; Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc.
82:171, 1987), those of differences percentiles that are widened for few lesions (`widened`). See `python -m
benchmarks.interval_coverage`. Shares of images need no bootstrap: see `skinlesion.evaluation.shares`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import t

from skinlesion.evaluation.scored_images import Floats, Ints, ScoredImages
from skinlesion.evaluation.shares import LEVEL, Interval

RESAMPLES: Final = 2000
"""Resamples of the headline figures; the tails of a BCa interval need more than a thousand."""
WEIGHTS_AT_ONCE: Final = 4_000_000
"""Bootstrap weights held at once (32 MB), whatever the number of images."""


class Statistic(Protocol):
    """Figures as functions of how often each lesion counts."""

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each figure, (r,), from weights (r, lesions); NaN where it is undefined."""
        ...

    def influence(self) -> dict[str, Floats]:
        """Return the derivative of each figure by the weight of each lesion, at equal weights, (lesions,)."""
        ...


@dataclass(frozen=True)
class Drawn:
    """A figure with its bootstrap: `point` of the data, `values` (resamples,), `influence` (lesions,)."""

    point: float
    values: Floats
    influence: Floats

    @property
    def finite(self) -> Floats:
        """The values that are defined; none where the figure of the data is not."""
        return np.asarray(self.values[np.isfinite(self.values) & np.isfinite(self.point)])

    def __sub__(self, other: Drawn) -> Drawn:
        """Return the difference of two figures drawn on the same lesions with the same seed: a paired bootstrap."""
        return Drawn(self.point - other.point, self.values - other.values, self.influence - other.influence)


def draw(statistics: Iterable[Statistic], lesions: int, resamples: int, seed: int) -> dict[str, Drawn]:
    """Return every figure of the statistics with its bootstrap. Equal lesions and seed give equal resamples."""
    statistics = list(statistics)
    values: dict[str, list[Floats]] = {}
    for weights in _resamples(lesions, resamples, seed):
        for statistic in statistics:
            for name, part in statistic(weights).items():
                values.setdefault(name, []).append(part)
    drawn: dict[str, Drawn] = {}
    for statistic in statistics:
        influence = statistic.influence()
        for name, point in statistic(np.ones((1, lesions))).items():
            parts = values.get(name, [])
            drawn[name] = Drawn(float(point[0]), np.concatenate(parts) if parts else np.empty(0), influence[name])
    return drawn


def _resamples(lesions: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each lesion is drawn, float64 (r, lesions), block by block."""
    generator = np.random.default_rng(seed)
    step = max(1, WEIGHTS_AT_ONCE // lesions)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = generator.integers(lesions, size=(rows, lesions)) + np.arange(rows)[:, None] * lesions
        yield np.bincount(picks.ravel(), minlength=rows * lesions).reshape(rows, lesions).astype(np.float64)


def bca(drawn: Drawn) -> Interval | None:
    """Return the BCa interval; None where the figure is undefined in every resample.

    The acceleration comes from the influence values rather than from a jackknife (Efron & Tibshirani, "An introduction to
    the bootstrap", 1993, ch. 14 and 22); half of the resamples equal to the figure count as below it.
    """
    values = drawn.finite
    if not len(values):
        return None
    # The order of summing makes differences of rounding.
    near = np.isclose(values, drawn.point, rtol=0, atol=1e-12)
    below = (np.sum((values < drawn.point) & ~near) + near.sum() / 2) / len(values)
    bias = ndtri(np.clip(below, 0.5 / len(values), 1 - 0.5 / len(values)))
    square = float((drawn.influence**2).sum())
    acceleration = float((drawn.influence**3).sum()) / (6 * square**1.5) if square > 0 else 0.0
    quantile = ndtri((1 + LEVEL) / 2)
    ends = np.array([bias - quantile, bias + quantile])
    return [float(end) for end in np.quantile(values, ndtr(bias + ends / (1 - acceleration * ends)))]


def widened(drawn: Drawn, lesions: int) -> Interval | None:
    """Return the percentile interval of a difference, widened for few lesions as Student's t is; None where there is none.

    A bootstrap of n lesions is too narrow by sqrt(1 - 1/n), and takes the normal's quantiles for t's (Hesterberg, "What
    teachers should know about the bootstrap", Am. Stat. 69:371, 2015, sect. 3.2). lesions: number of those of the rarest class
    that the figure depends on.
    """
    values = drawn.finite
    if lesions < 2 or not len(values):
        return None
    quantile = np.sqrt(lesions / (lesions - 1)) * t.ppf((1 + LEVEL) / 2, lesions - 1)
    return [float(end) for end in np.quantile(values, ndtr([-quantile, quantile]))]


def shifted(drawn: Drawn) -> Interval | None:
    """Return the percentile interval minus twice the bias of the bootstrap, not below 0; for a figure that chance enlarges.

    A calibration error is a sum of absolute values: that of the data exceeds the truth by about as much as those of the
    resamples exceed that of the data (Efron & Tibshirani 1993, ch. 10). None where it is undefined in every resample.
    """
    values = drawn.finite
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - 2 * (values.mean() - drawn.point)
    return [max(float(low), 0.0), max(float(high), 0.0)]


@dataclass(frozen=True)
class FiguresOfSums:
    """Figures that are functions of sums over lesions, such as the cells of a confusion matrix.

    counts: float64 (lesions, k), what each lesion adds to the k sums. function: figures (r,) from sums (r, k).
    """

    counts: Floats
    function: Callable[[Floats], Mapping[str, Floats]]

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each figure, (r,), from weights (r, lesions)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return dict(self.function(weights @ self.counts))

    def influence(self) -> dict[str, Floats]:
        """Return the derivative of each figure by the weight of each lesion: numerically by the sums, then by the chain rule."""
        sums = self.counts.sum(axis=0)
        step = 1e-4 * max(1.0, float(np.abs(sums).max()))
        moves = step * np.eye(len(sums))
        with np.errstate(invalid="ignore", divide="ignore"):
            up, down = self.function(sums + moves), self.function(sums - moves)
            slopes = {name: (up[name] - down[name]) / (2 * step) for name in up}
        return {name: np.nan_to_num(self.counts @ slope, nan=0.0) for name, slope in slopes.items()}


@dataclass(frozen=True)
class FigureOfPairs:
    """An AUROC: the chance that a positive image scores above a negative one, ties counting half; exact.

    Both sides are sorted once for all resamples. positive_groups, negative_groups: the lesion of each image; the
    negatives in the order of their scores. counting: how much each negative counts. lowest, highest: how many negatives
    score below each positive, and no higher. positives_above: for each negative, the share of positives above it.
    """

    name: str
    lesions: int
    positive_groups: Ints
    negative_groups: Ints
    counting: Floats
    lowest: Ints
    highest: Ints
    positives_above: Floats

    @classmethod
    def of(cls, name: str, scored: ScoredImages, counting: Floats | None = None) -> FigureOfPairs:
        """Return the AUROC of malignant against the rest; NaN without a malignant or without another image.

        counting: (n,), how much each image that is not malignant counts; without it all count the same.
        """
        positive, groups = scored.malignant, scored.groups
        order = np.flatnonzero(~positive)[np.argsort(scored.scores[~positive], kind="stable")]
        negatives, positives = scored.scores[order], scored.scores[positive]
        no_higher = [np.searchsorted(np.sort(positives), negatives, side) for side in ("left", "right")]
        return cls(
            name,
            scored.lesions,
            positive_groups=groups[positive],
            negative_groups=groups[order],
            counting=np.ones(len(order)) if counting is None else counting[order],
            lowest=np.searchsorted(negatives, positives, "left"),
            highest=np.searchsorted(negatives, positives, "right"),
            positives_above=1 - (no_higher[0] + no_higher[1]) / (2 * max(1, len(positives))),
        )

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return the AUROC, (r,), from weights (r, lesions)."""
        cumulated = self._cumulated(weights)
        positive = weights[:, self.positive_groups]
        below = (cumulated[:, self.lowest] + cumulated[:, self.highest]) / 2
        with np.errstate(invalid="ignore"):
            return {self.name: (positive * below).sum(axis=1) / (positive.sum(axis=1) * cumulated[:, -1])}

    def _cumulated(self, weights: Floats) -> Floats:
        cumulated = np.zeros((len(weights), len(self.negative_groups) + 1))
        np.cumsum(weights[:, self.negative_groups] * self.counting, axis=1, out=cumulated[:, 1:])
        return cumulated

    def influence(self) -> dict[str, Floats]:
        """Return the structural components of DeLong, summed over each lesion (DeLong et al., Biometrics 44:837, 1988)."""
        positives, negatives = len(self.positive_groups), float(self.counting.sum())
        if not positives or not negatives:
            return {self.name: np.zeros(self.lesions)}
        cumulated = self._cumulated(np.ones((1, self.lesions)))[0]
        below = (cumulated[self.lowest] + cumulated[self.highest]) / (2 * negatives)
        auroc = below.mean()
        above = self.counting * (self.positives_above - auroc) / negatives
        of_positives = np.bincount(self.positive_groups, (below - auroc) / positives, self.lesions)
        of_negatives = np.bincount(self.negative_groups, above, self.lesions)
        return {self.name: np.asarray(of_positives + of_negatives, dtype=np.float64)}
