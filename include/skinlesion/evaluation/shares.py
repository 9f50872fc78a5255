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
from skinlesion.registry.figure import Figure

LEVEL: Final = 0.95

Interval = list[float]
"""Low and high."""

Counts = float | Floats


def finite(value: float) -> float | None:
    """Return a number; None for one that is not defined."""
    return float(value) if np.isfinite(value) else None


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

    @property
    def figure(self) -> Figure:
        """The share with its interval and the number of its lesions; without a number if there are none."""
        return Figure.of(self.point, self.interval(), self.lesions) if self.lesions else Figure(lesions=0)

    def lower(self, confidence: float) -> float:
        """Return what the share is above, with this confidence, one-sided; 0 without images.

        It is the lower end of the interval and, where all is found, at most the exact binomial bound: of seven lesions seven found are
        90 % sure above .72.
        """
        low = self.interval(2 * confidence - 1)[0]
        if not self.lesions or self.point < 1:
            return low
        n = _independent(self.hits, float(self.hits.sum()), self.images)
        return min(low, float((1 - confidence) ** (1 / n))) if confidence > 0.5 else low

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
        won, lost, n = self._independent_counts()
        bound = score_bound(won, lost, n, float(norm.ppf(confidence)))
        if won == 0 and lost < n:
            bound = min(bound, -float(beta.ppf(confidence, lost + 1, n - lost)))
        return bound

    def p_worse(self, margin: float) -> float:
        """Return the p-value of "the share is lower by `margin` or more"; 1 without images.

        It is at most 1 - confidence where `lower(confidence)` is at least -margin.
        """
        if not self.lesions:
            return 1.0
        return float(p_worse(*self._independent_counts(), margin))

    def _independent_counts(self) -> tuple[float, float, float]:
        """Return of how many independent images either model alone is right, and how many these images are worth."""
        won, lost = float(self.only_new.sum()), float(self.only_old.sum())
        n = _independent(self.only_new - self.only_old, won + lost, self.images)
        scale = n / float(self.images.sum())
        return won * scale, lost * scale, n

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


def mean_p_worse(pairs: Sequence[PairedShares], margin: float) -> float:
    """Return the p-value of "the mean of these differences is -margin or less"; 1 above .5, where nothing is shown.

    It is at most 1 - confidence where `mean_lower` with this confidence is at least -margin.
    """
    differences = [pair.difference for pair in pairs]

    def above(power: float) -> float:
        return mean_lower(differences, [pair.lower(1 - 10**power) for pair in pairs]) + margin

    most, least = float(np.log10(0.5)), -12.0
    if above(most) < 0:
        return 1.0
    if above(least) >= 0:
        return float(10**least)
    return float(10 ** brentq(above, least, most, xtol=1e-4))


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
        return float(_score(won, lost, n, d))

    point = (won - lost) / n
    if quantile <= 0 or point <= -1:
        return point
    lowest = np.nextafter(-1.0, 0.0)
    if statistic(lowest) <= quantile:
        return -1.0
    # At the point itself the statistic is 0, or 0/0 where the models agree everywhere.
    return float(brentq(lambda d: statistic(d) - quantile, lowest, point - 1e-12, xtol=1e-9))


def p_worse(won: Counts, lost: Counts, n: Counts, margin: float) -> Floats:
    """Return the p-value of "the new model's share is lower by `margin` or more", of one pair or of an array of pairs.

    won, lost: number of independent images that one model alone finds, of n. It is that of the bound `PairedShares.lower`: Tango's score
    test and, where the new model is ahead nowhere, no less than the exact binomial one.
    """
    p = norm.sf(_score(won, lost, n, -margin))
    # The binomial distribution function, as a beta one, which takes counts that are no whole numbers.
    exact = beta.sf(margin, np.add(lost, 1), np.maximum(np.subtract(n, lost), 1e-12))
    return np.asarray(np.where(np.equal(won, 0), np.maximum(p, np.where(np.less(lost, n), exact, 1.0)), p))


def auroc_lower(auroc: float, malignant: int, others: int, confidence: float) -> float:
    """Return what an AUROC of so many malignant and other lesions is above, with this confidence, one-sided.

    It is method 5 of Newcombe ("Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2", Stat. Med.
    25:559, 2006): the lowest value that a score test with the variance of Hanley and McNeil does not refuse. Other than a
    bootstrap it is below 1 for a model that puts every one of few lesions right.
    """
    quantile, more = float(norm.ppf(confidence)), (malignant + others) / 2 - 1

    def beyond(value: float) -> float:
        spread = 1 + more * ((1 - value) / (2 - value) + value / (1 + value))
        return float(auroc - value - quantile * np.sqrt(value * (1 - value) * spread / (malignant * others)))

    return float(brentq(beyond, 0.0, auroc, xtol=1e-9)) if auroc > 0 and beyond(auroc) < 0 else auroc


def _score(won: Counts, lost: Counts, n: Counts, d: float) -> Floats:
    """Return the score statistic of "the difference is d": Tango 1998, equation 3."""
    won, lost, n = (np.asarray(one, dtype=np.float64) for one in (won, lost, n))
    b = -won - lost + (2 * n - won + lost) * d
    c = -lost * d * (1 - d)
    share_lost = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return np.asarray((won - lost - n * d) / np.sqrt(np.maximum(n * (2 * share_lost + d * (1 - d)), 1e-300)))
