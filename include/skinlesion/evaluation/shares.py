"""Shares of images, such as a sensitivity, and differences of two models' shares, with intervals that hold for few lesions too.

A bootstrap cannot see what the data do not show: where every malignant lesion is found, or two models agree on all of them,
no resample varies, and the interval has no width however few the lesions are. Score intervals have no such hole. Images
of one lesion are alike, so each interval counts as many images as are worth as much as independent ones: their number
divided by the design effect (Rao & Scott, "A simple method for the analysis of clustered binary data", Biometrics 48:577, 1992),
with the correlation within a lesion from an analysis of variance (Ridout, Demétrio & Firth, "Estimating intraclass correlation for
binary data", Biometrics 55:137, 1999), or 1 where the data do not show it.

How often each of them holds the truth, for 5 to 300 lesions: `python -m benchmarks.few_lesions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import beta, norm

from skinlesion.evaluation.scored_images import Bools, Floats, Ints

LEVEL: Final = 0.95

Interval = list[float]
"""Low and high."""


@dataclass(frozen=True)
class Share:
    """The share of n images for which something holds, by lesion.

    hits: float64 (lesions,), number of images of each lesion for which it holds. images: float64 (lesions,), at least 1.
    """

    hits: Floats
    images: Floats

    @classmethod
    def of(cls, holds: Bools, groups: Ints) -> Self:
        """Return the share of images for which `holds` (n,) is true; groups: (n,), the lesion of each image."""
        lesion = np.unique(groups, return_inverse=True)[1]
        return cls(np.bincount(lesion, holds).astype(np.float64), np.bincount(lesion).astype(np.float64))

    @property
    def lesions(self) -> int:
        """Number of lesions."""
        return len(self.images)

    @property
    def point(self) -> float:
        """The share itself; nan without images."""
        return float(self.hits.sum() / self.images.sum()) if self.lesions else float("nan")

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the score interval (Wilson, J. Am. Stat. Assoc. 22:209, 1927); everything, 0 to 1, without images.

        Of the intervals compared by Brown, Cai & DasGupta ("Interval estimation for a binomial proportion", Stat. Sci. 16:101, 2001)
        it is the one that holds the truth closest to as often as it says, also near 0 and 1.
        """
        if not self.lesions:
            return [0.0, 1.0]
        n, share = _independent(self.hits, float(self.hits.sum()), self.images), self.point
        square = norm.ppf((1 + level) / 2) ** 2
        middle = (share + square / (2 * n)) / (1 + square / n)
        half = np.sqrt(square * (share * (1 - share) / n + square / (4 * n * n))) / (1 + square / n)
        # Where all or none is found, rounding would leave the bound a little inside.
        return [min(share, max(0.0, float(middle - half))), max(share, min(1.0, float(middle + half)))]


@dataclass(frozen=True)
class PairedShares:
    """The shares of n images for which something holds of a model and of another one, on the same images, by lesion.

    only_new, only_old: float64 (lesions,), number of images of each lesion for which it holds of one model alone. images:
    float64 (lesions,), at least 1.
    """

    only_new: Floats
    only_old: Floats
    images: Floats

    @classmethod
    def of(cls, new: Bools, old: Bools, groups: Ints) -> Self:
        """Return the pair of shares from what holds of each image for either model, both (n,); groups: as for `Share.of`."""
        lesion = np.unique(groups, return_inverse=True)[1]
        counted = [np.bincount(lesion, which).astype(np.float64) for which in (new & ~old, old & ~new)]
        return cls(counted[0], counted[1], np.bincount(lesion).astype(np.float64))

    @property
    def lesions(self) -> int:
        """Number of lesions."""
        return len(self.images)

    @property
    def difference(self) -> float:
        """The new model's share minus the old one's; nan without images."""
        return float((self.only_new - self.only_old).sum() / self.images.sum()) if self.lesions else float("nan")

    def lower(self, confidence: float) -> float:
        """Return what the difference is above, with this confidence, one-sided; -1 without images.

        It is Tango's score bound ("Equivalence test and confidence interval for the difference in proportions for the paired-sample
        design", Stat. Med. 17:891, 1998). Where the new model is ahead nowhere it is at most the exact binomial bound of the
        share of images that it loses: of models that agree everywhere, a difference of .08 is excluded with 90 % confidence by
        28 lesions.
        """
        if not self.lesions:
            return -1.0
        won, lost = float(self.only_new.sum()), float(self.only_old.sum())
        n = _independent(self.only_new - self.only_old, won + lost, self.images)
        scale = n / self.images.sum()
        won, lost = won * scale, lost * scale
        bound = score_bound(won, lost, n, float(norm.ppf(confidence)))
        if won == 0 and lost < n:
            bound = min(bound, -float(beta.ppf(confidence, lost + 1, n - lost)))
        return bound

    def interval(self, level: float = LEVEL) -> Interval:
        """Return the two-sided interval of the difference; everything, -1 to 1, without images."""
        confidence = (1 + level) / 2
        return [self.lower(confidence), -PairedShares(self.only_old, self.only_new, self.images).lower(confidence)]


def recalls(labels: Ints, predicted: Ints, groups: Ints) -> list[Share]:
    """Return, for each class that is there, the share of its images that are named so; all (n,)."""
    return [Share.of((predicted == label)[labels == label], groups[labels == label]) for label in np.unique(labels)]


def paired_recalls(labels: Ints, new: Ints, old: Ints, groups: Ints) -> list[PairedShares]:
    """Return, for each class that is there, the shares of its images that either model names so; all (n,)."""
    return [
        PairedShares.of((new == label)[labels == label], (old == label)[labels == label], groups[labels == label])
        for label in np.unique(labels)
    ]


def change_of_balanced_accuracy(labels: Ints, new: Ints, old: Ints, groups: Ints) -> tuple[float, Interval]:
    """Return the difference of two models' balanced accuracies on the same images, new minus old, and its interval; all (n,)."""
    pairs = paired_recalls(labels, new, old, groups)
    differences = [pair.difference for pair in pairs]
    return float(np.mean(differences)), mean_interval(differences, [pair.interval() for pair in pairs])


def mean_interval(points: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the interval of the mean of independent figures from the interval of each.

    The squares of the distances of the ends from the points add up (Zou & Donner, "Construction of confidence limits about effect
    measures: a general approach", Stat. Med. 27:1693, 2008), so that a class of few lesions widens it as it should.
    """
    middle, ends = np.asarray(points, dtype=np.float64), np.asarray(intervals, dtype=np.float64)
    half = np.sqrt(((ends - middle[:, None]) ** 2).sum(axis=0)) / len(middle)
    return [float(middle.mean() - half[0]), float(middle.mean() + half[1])]


def mean_lower(points: Sequence[float], bounds: Sequence[float]) -> float:
    """Return the one-sided lower bound of the mean of independent figures from that of each, as `mean_interval`."""
    return mean_interval(points, [[bound, point] for point, bound in zip(points, bounds, strict=True)])[0]


def _independent(sums: Floats, squares: float, images: Floats) -> float:
    """Return the number of independent images that are worth as much as these, at most the number of images.

    sums: (lesions,), sum of a value over the images of each lesion. squares: sum of its squares over all images.
    """
    total, lesions = float(images.sum()), len(images)
    mean = float(sums.sum()) / total
    size = float((images**2).sum()) / total
    within = squares - float((sums**2 / images).sum())
    between = float((sums**2 / images).sum()) - total * mean**2
    correlation = 1.0
    if lesions > 1 and within + between > 1e-9:
        mean_within = within / max(total - lesions, 1)
        mean_between = between / (lesions - 1)
        usual = (total - size) / (lesions - 1)
        correlation = (mean_between - mean_within) / (mean_between + (usual - 1) * mean_within)
    return total / (1 + min(max(correlation, 0.0), 1.0) * (size - 1))


def score_bound(won: float, lost: float, n: float, quantile: float) -> float:
    """Return the lowest difference d that a score test does not refuse: Tango 1998, equations 3 and 4."""

    def statistic(d: float) -> float:
        b = -won - lost + (2 * n - won + lost) * d
        c = -lost * d * (1 - d)
        share_lost = (np.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        return float((won - lost - n * d) / np.sqrt(max(n * (2 * share_lost + d * (1 - d)), 1e-300)))

    point = (won - lost) / n
    if quantile <= 0 or point <= -1:
        return point
    lowest = np.nextafter(-1.0, 0.0)
    if statistic(lowest) <= quantile:
        return -1.0
    # At the point itself the statistic is 0, or 0/0 where the models agree everywhere.
    return float(brentq(lambda d: statistic(d) - quantile, lowest, point - 1e-12, xtol=1e-9))
