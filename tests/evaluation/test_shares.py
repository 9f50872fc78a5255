"""Intervals of shares and of their differences are those of the literature, know lesions, and hold the truth for few of them."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.few_lesions import CONFIDENCE, MARGIN, Pair, drawn_pairs, drawn_shares, held
from scipy.stats import binomtest, norm

from skinlesion.evaluation.shares import PairedShares, Share, mean_interval, mean_lower, score_bound


def share(hits: int, lesions: int, images: int = 1) -> Share:
    """Return a share that holds for `hits` of so many lesions, with all their images."""
    found = np.where(np.arange(lesions) < hits, float(images), 0.0)
    return Share(found, np.full(lesions, float(images)))


def pair(won: int, lost: int, lesions: int, images: int = 1) -> PairedShares:
    at = np.arange(lesions)
    is_lost = (at >= won) & (at < won + lost)
    counts = [np.where(which, float(images), 0.0) for which in (at < won, is_lost)]
    return PairedShares(counts[0], counts[1], np.full(lesions, float(images)))


@pytest.mark.parametrize(("hits", "lesions"), [(0, 5), (6, 7), (7, 7), (95, 100), (1, 1)])
def test_the_interval_of_a_share_is_wilsons_however_many_images_repeat_a_lesion(hits: int, lesions: int) -> None:
    expected = binomtest(hits, lesions).proportion_ci(method="wilson")
    for images in (1, 4):
        assert share(hits, lesions, images).interval() == pytest.approx([expected.low, expected.high])


def test_images_of_a_lesion_that_differ_as_those_of_others_do_count_each() -> None:
    hits = np.random.default_rng(0).binomial(3, 0.5, size=2000).astype(np.float64)
    low, high = Share(hits, np.full(2000, 3.0)).interval()
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(6000), rel=0.1)


def test_a_share_of_nothing_says_nothing() -> None:
    nothing = Share(np.empty(0), np.empty(0))
    assert np.isnan(nothing.point) and nothing.interval() == [0, 1]
    of_pair = PairedShares(np.empty(0), np.empty(0), np.empty(0))
    assert np.isnan(of_pair.difference) and of_pair.interval() == [-1, 1]


def test_the_bound_of_a_difference_is_tangos() -> None:
    # His example: of 44 pairs one is lost and none is won; a difference of -0.1 has Z = 1.709 (Tango 1998, section 6).
    assert score_bound(0, 1, 44, 1.709) == pytest.approx(-0.1, abs=1e-4)
    assert pair(2, 5, 60).lower(0.9) == score_bound(2, 5, 60, float(norm.ppf(0.9)))
    low, high = pair(12, 9, 50).interval()
    assert low < 0.06 < high
    assert [-high, -low] == pytest.approx(pair(9, 12, 50).interval())


def test_where_nothing_is_won_the_bound_is_no_surer_than_the_exact_one_of_what_is_lost() -> None:
    for lost, lesions in ((0, 28), (1, 50), (3, 90)):
        exact = binomtest(lost, lesions, alternative="less").proportion_ci(0.9, method="exact").high
        assert pair(0, lost, lesions).lower(0.9) == pytest.approx(-exact)
    assert pair(0, 0, 27).lower(0.9) < -0.08 < pair(0, 0, 28).lower(0.9)


@pytest.mark.parametrize(
    ("won", "lost", "lesions"), [(0, 0, 1), (0, 0, 40), (0, 3, 20), (2, 5, 60), (40, 0, 40), (0, 9, 9)]
)
def test_repeated_images_of_a_lesion_make_no_difference_surer(won: int, lost: int, lesions: int) -> None:
    once, often = pair(won, lost, lesions), pair(won, lost, lesions, images=5)
    assert often.difference == once.difference
    assert often.lower(0.9) == pytest.approx(once.lower(0.9))
    assert -1 <= once.lower(0.9) <= once.difference
    assert once.lower(0.95) <= once.lower(0.9) <= once.lower(0.6)


def test_the_interval_of_a_mean_adds_variances_and_not_widths() -> None:
    assert mean_interval([0.5, 0.5], [[0.2, 0.8], [0.1, 0.9]]) == pytest.approx([0.25, 0.75])
    assert mean_interval([0.4], [[0.2, 0.5]]) == pytest.approx([0.2, 0.5])
    assert mean_lower([0.0, 0.0], [-0.3, -0.4]) == pytest.approx(-0.25)


# Within four standard errors of the 95 %, and of what a discrete figure makes of it.
@pytest.mark.parametrize("draws", [400, pytest.param(4000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lesions", [5, 20, 100])
def test_the_interval_of_a_share_holds_the_truth_as_often_as_it_says(lesions: int, draws: int) -> None:
    error = 4 * np.sqrt(0.05 * 0.95 / draws)
    for truth in (0.5, 0.8, 0.95):
        found = held([one.interval() for one in drawn_shares(truth, lesions, draws)], truth)
        assert 0.94 - error <= found <= 0.975 + error, truth


@pytest.mark.parametrize("draws", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("lesions", [1, 3, 10, 30, 100])
def test_a_candidate_that_is_worse_by_the_margin_passes_no_more_often_than_the_confidence_allows(
    lesions: int, draws: int
) -> None:
    error = 4 * np.sqrt(CONFIDENCE * (1 - CONFIDENCE) / draws)
    for agreement in (0.6, 0.9):
        pairs = drawn_pairs(Pair(0.95, MARGIN, agreement), lesions, draws)
        passed = np.mean([one.lower(CONFIDENCE) >= -MARGIN for one in pairs])
        assert passed <= 1 - CONFIDENCE + error
