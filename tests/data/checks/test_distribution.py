from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from skinlesion.data.checks import distribution
from skinlesion.data.checks.accepted_data import Appearance
from skinlesion.data.checks.distribution import PROPERTIES, SMIRNOV_95
from skinlesion.data.images.statistics import COLUMNS

OF_NAME = {one.name: one for one in PROPERTIES}


def images(number: int, seed: int = 0, **columns: object) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    table = {name: random.normal(120, 20, number).clip(0, 255) for name in COLUMNS}
    table |= {"width": np.full(number, 600), "height": np.full(number, 450)}
    return pd.DataFrame(table | columns)


def test_the_distance_is_that_of_the_values_less_what_chance_explains() -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(120, 20, 3000), random.normal(150, 20, 500)
    counts = [distribution.count(images(len(values), brightness=values))["brightness"] for values in (before, after)]
    expected = ks_2samp(before, after).statistic - SMIRNOV_95 * np.sqrt(1 / 3000 + 1 / 500)
    assert distribution.distance(*counts) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("number", [50, 500])
def test_samples_of_one_distribution_are_hardly_ever_apart(number: int) -> None:
    apart = [
        distribution.distance(
            distribution.count(images(2000, seed))["red"], distribution.count(images(number, 1000 + seed))["red"]
        )
        for seed in range(60)
    ]
    assert sum(one > 0 for one in apart) <= 6
    assert max(apart) < 0.1


def test_nothing_is_said_of_no_image() -> None:
    none = distribution.nothing()["red"]
    assert distribution.distance(none, distribution.count(images(9))["red"]) == 0


def test_every_image_is_counted_once_whatever_its_values() -> None:
    odd = images(6, brightness=[-5, 0, 255, 300, np.nan, np.inf], width=[1, 10**6, 1, 32, 600, 0], height=1)
    counts = distribution.count(odd)
    assert sum(counts["brightness"]) == 4
    assert all(sum(counts[name]) == 6 for name in ("red", "megapixels", "aspect", "red_share"))


def test_black_pictures_have_equal_shares_of_the_colours() -> None:
    black = images(3, red=0.0, green=0.0, blue=0.0)
    one = OF_NAME["red_share"]
    assert distribution.middle(one, distribution.count(black)["red_share"]) == pytest.approx(1 / 3, abs=0.01)


def test_counts_add_up_and_survive_json() -> None:
    first, second = distribution.count(images(30, 1)), distribution.count(images(20, 2))
    both = distribution.total([first, second])
    assert distribution.images_in(both) == 50
    appearance = Appearance(all=both)
    assert Appearance.model_validate_json(appearance.model_dump_json()) == appearance
    with pytest.raises(ValueError, match="the bins of this program"):
        Appearance(all=both | {"red": [1, 2]})


def test_quantiles_are_shown_in_the_words_of_the_property() -> None:
    counts = distribution.count(images(100, width=1024, height=1024))
    sizes, aspects = OF_NAME["megapixels"], OF_NAME["aspect"]
    assert sizes.show(distribution.middle(sizes, counts["megapixels"])) in ("1 MP", "1.1 MP")
    assert aspects.show(distribution.middle(aspects, counts["aspect"])) in ("1.00", "1.01")
