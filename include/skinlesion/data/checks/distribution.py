"""Distributions of properties of images, as counts over fixed bins: small, additive, comparable from night to night."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

Counts = list[int]
"""The number of images in each bin of a property."""

SMIRNOV_95: Final = 1.358
"""In 95 of 100 cases two samples of one distribution are at most sqrt(1/n + 1/m) times this apart (Smirnov, Ann. Math.
Stat. 19:279, 1948)."""


@dataclass(frozen=True)
class Property:
    """A property with one number for each image. `low`..`high` is cut into `bins`; values beyond fall into the end bins.

    Attributes:
        name: name in the tables.
        title: name for people, as the subject of a sentence.
        of: function of a table with the columns of `images.statistics.COLUMNS`, width and height; returns the values.
        show: function that returns a value as people read it; `low` and `high` may be logarithms of it.
    """

    name: str
    title: str
    low: float
    high: float
    bins: int
    of: Callable[[pd.DataFrame], pd.Series]
    show: Callable[[float], str] = lambda value: f"{value:.0f}"


def _share(colour: str) -> Callable[[pd.DataFrame], pd.Series]:
    def of(images: pd.DataFrame) -> pd.Series:
        total = images["red"] + images["green"] + images["blue"]
        return (images[colour] / total).where(total > 0, 1 / 3)

    return of


def _column(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    return lambda images: images[name]


def _log2(values: pd.Series) -> pd.Series:
    return pd.Series(np.log2(values.clip(lower=1)), index=values.index)


def _percent(value: float) -> str:
    return f"{value:.1%}"


PROPERTIES: Final = (
    Property("brightness", "brightness", 0, 256, 64, _column("brightness")),
    Property("contrast", "contrast", 0, 128, 64, _column("brightness_spread")),
    Property("red", "red", 0, 256, 64, _column("red")),
    Property("green", "green", 0, 256, 64, _column("green")),
    Property("blue", "blue", 0, 256, 64, _column("blue")),
    Property("saturation", "saturation", 0, 256, 64, _column("saturation")),
    # White balance shows here whatever the light.
    Property("red_share", "red's share of the colours", 0.1, 0.7, 120, _share("red"), _percent),
    Property("blue_share", "blue's share of the colours", 0.1, 0.7, 120, _share("blue"), _percent),
    Property(
        "megapixels",
        "size",
        10,
        27,
        68,
        lambda images: _log2(images["width"].astype("float64") * images["height"]),
        lambda value: f"{2**value / 1e6:.2g} MP",
    ),
    Property(
        "aspect",
        "aspect",
        -2,
        2,
        128,
        lambda images: _log2(images["width"]) - _log2(images["height"]),
        lambda value: f"{2**value:.2f}",
    ),
)


def count(images: pd.DataFrame) -> dict[str, Counts]:
    """Return, by the name of the property, the number of images in each bin; unknown values are not counted."""
    counts = {}
    for one in PROPERTIES:
        values = one.of(images).to_numpy(dtype=np.float64)
        places = np.floor((values[np.isfinite(values)] - one.low) / (one.high - one.low) * one.bins)
        counts[one.name] = np.bincount(np.clip(places, 0, one.bins - 1).astype(np.int64), minlength=one.bins).tolist()
    return counts


def nothing() -> dict[str, Counts]:
    """Return the counts of no image."""
    return {one.name: [0] * one.bins for one in PROPERTIES}


def total(many: list[dict[str, Counts]]) -> dict[str, Counts]:
    """Return the counts of several sets of images together."""
    return {
        name: np.sum([none, *(counts[name] for counts in many)], axis=0).tolist() for name, none in nothing().items()
    }


def images_in(counts: dict[str, Counts]) -> int:
    """Return the number of images whose properties are known."""
    return sum(counts["brightness"])


def distance(before: Counts, after: Counts) -> float:
    """Return the Kolmogorov-Smirnov distance of two distributions beyond what chance explains: 0 (none) to 1 (disjoint).

    It is taken at the edges of bins, so it may be a little smaller than on the values themselves, never larger.
    """
    n, m = sum(before), sum(after)
    if not n or not m:
        return 0.0
    apart = np.abs(np.cumsum(before) / n - np.cumsum(after) / m).max()
    return float(max(0.0, apart - SMIRNOV_95 * np.sqrt(1 / n + 1 / m)))


def middle(one: Property, counts: Counts, quantile: float = 0.5) -> float:
    """Return the middle of the bin in which a quantile lies. Expects at least one image."""
    place = int(np.searchsorted(np.cumsum(counts), quantile * sum(counts)))
    return one.low + (place + 0.5) * (one.high - one.low) / one.bins


def of_these_bins(counts: dict[str, Counts]) -> dict[str, Counts]:
    """Return the counts. Raises ValueError where they are of other properties or bins, as another program wrote them."""
    if {name: len(bins) for name, bins in counts.items()} != {one.name: one.bins for one in PROPERTIES}:
        raise ValueError("expected counts over the bins of this program")
    return counts
