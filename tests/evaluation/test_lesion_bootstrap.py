"""The bootstrap draws lesions, its influence values are derivatives, and its intervals hold the truth as often as they say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks.interval_coverage import IMAGES, coverage, lesions_of, simulated, truth
from sklearn import metrics as reference
from tests.evaluation.simulated import scored
from tests.measured import known

from skinlesion.evaluation import lesion_bootstrap
from skinlesion.evaluation.lesion_bootstrap import Drawn, FigureOfPairs, FiguresOfSums, bca, draw, shifted, widened
from skinlesion.evaluation.metrics import draw_figures, intervals

MALIGNANT = 1
THRESHOLD = 0.3


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_weighted_auroc_equals_scikit_learn_with_and_without_ties(decimals: int | None) -> None:
    images = scored(200, decimals=decimals)
    random = np.random.default_rng(2)
    weights = random.integers(4, size=(20, images.lesions)).astype(np.float64)
    counting = random.uniform(0.2, 2, size=len(images))
    for of_image in (None, counting):
        found = FigureOfPairs.of("auroc", images, of_image)(weights)["auroc"]
        factor = np.where(images.malignant, 1.0, 1.0 if of_image is None else of_image)
        expected = [
            reference.roc_auc_score(images.malignant, images.scores, sample_weight=row[images.groups] * factor)
            for row in weights
        ]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_resamples_equal_those_that_copy_the_images_of_each_drawn_lesion() -> None:
    images = scored(120, seed=3)
    drawn = draw_figures(images, resamples=40, seed=5)
    members = [np.flatnonzero(images.groups == lesion) for lesion in range(images.lesions)]
    for number, picks in enumerate(np.random.default_rng(5).integers(images.lesions, size=(40, images.lesions))):
        rows = np.concatenate([members[pick] for pick in picks])
        labels, predicted, scores = images.labels[rows], images.predicted[rows], images.scores[rows]
        expected = {
            "malignant_auroc": reference.roc_auc_score(labels == MALIGNANT, scores),
            "macro_f1": reference.f1_score(labels, predicted, average="macro"),
        }
        for name, value in expected.items():
            assert drawn[name].values[number] == pytest.approx(value), name


def test_the_influence_of_a_lesion_is_what_a_little_more_of_it_does_to_the_figure() -> None:
    images = scored(90, seed=4, decimals=1)
    counting = np.random.default_rng(0).uniform(0.5, 2, size=len(images))
    hits = np.bincount(images.groups, images.right, images.lesions)
    squares = FiguresOfSums(np.stack([hits, hits + 1], axis=1), lambda sums: {"square": (sums[:, 0] / sums[:, 1]) ** 2})
    for statistic in (squares, FigureOfPairs.of("malignant_auroc", images, counting)):
        more = 1 + 1e-6 * np.eye(images.lesions)
        before, after = statistic(np.ones((1, images.lesions))), statistic(more)
        for name, influence in statistic.influence().items():
            np.testing.assert_allclose(influence, (after[name] - before[name]) / 1e-6, atol=2e-6, err_msg=name)


def test_the_intervals_do_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = scored(150, seed=4)
    whole = intervals(images, THRESHOLD, resamples=60)
    monkeypatch.setattr(lesion_bootstrap, "WEIGHTS_AT_ONCE", images.lesions * 7)
    assert intervals(images, THRESHOLD, resamples=60) == whole


def drawn_of(values: npt.ArrayLike, point: float, influence: npt.ArrayLike = (1.0, -1.0)) -> Drawn:
    return Drawn(point, np.asarray(values, dtype=np.float64), np.asarray(influence, dtype=np.float64))


def test_a_symmetric_unbiased_figure_gets_the_percentiles() -> None:
    values = np.linspace(0, 1, 2001)
    assert bca(drawn_of(values, 0.5)) == pytest.approx([0.025, 0.975], abs=1e-3)


def test_a_bca_interval_equals_scipys() -> None:
    from scipy.stats import bootstrap

    data = np.random.default_rng(0).exponential(size=60)
    theirs = bootstrap((data,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    means = FiguresOfSums(np.stack([data, np.ones(60)], axis=1), lambda sums: {"mean": sums[:, 0] / sums[:, 1]})
    ours = known(bca(draw([means], 60, 20_000, seed=2)["mean"]))
    assert ours == pytest.approx([theirs.low, theirs.high], abs=0.02)
    assert ours[0] + ours[1] > 2 * data.mean() + 0.02, "and is longer towards the long tail"


@pytest.mark.parametrize("values", [[], [np.nan, np.nan]])
def test_a_figure_that_no_resample_gives_has_no_interval(values: list[float]) -> None:
    assert bca(drawn_of(values, 0.5)) is None
    assert shifted(drawn_of(values, 0.5)) is None
    assert bca(drawn_of([0.1, 0.2], np.nan)) is None


def test_a_figure_that_does_not_vary_has_an_interval_of_no_width() -> None:
    assert bca(drawn_of([0.5] * 10, 0.5, [0.0, 0.0])) == [0.5, 0.5]


def test_the_interval_of_a_calibration_error_lies_lower_than_its_resamples_and_never_below_zero() -> None:
    values = np.linspace(0.02, 0.06, 101)
    low, high = known(shifted(drawn_of(values, 0.03)))
    assert (low, high) == pytest.approx((0.001, 0.039), abs=1e-4)
    assert shifted(drawn_of(values, 0.01)) == [0.0, 0.0]


def test_a_difference_of_many_lesions_gets_the_percentiles_and_one_of_few_more() -> None:
    drawn = drawn_of(np.linspace(0, 1, 2001), 0.4)
    assert widened(drawn, 100_000) == pytest.approx([0.025, 0.975], abs=1e-3)
    low, high = known(widened(drawn, 5))
    assert low < 0.01 and high > 0.99
    assert widened(drawn, 1) is None


def test_the_difference_of_two_figures_is_that_of_each_resample() -> None:
    difference = drawn_of([0.5, 0.7], 0.6) - drawn_of([0.4, 0.5], 0.5, (0.5, 0.5))
    assert difference.point == pytest.approx(0.1)
    assert difference.values == pytest.approx([0.1, 0.2])
    assert difference.influence == pytest.approx([0.5, -1.5])


def test_the_simulated_world_is_as_rare_as_it_says() -> None:
    images, _ = simulated(0, lesions_of())
    assert np.bincount(images.labels) == pytest.approx(list(IMAGES.values()), rel=0.15)
    assert images.lesions < len(images)
    assert 0.85 < truth()["malignant_auroc"][0] < 0.95


# Of a hundred with a chance of .95 each, fewer than 89 happen once in two hundred times; of thirty, fewer than 25.
@pytest.mark.parametrize(
    ("simulations", "least", "most"), [(30, 25, 30), pytest.param(100, 89, 99, marks=pytest.mark.slow)]
)
def test_the_intervals_hold_the_truth_in_about_95_of_100_simulations(simulations: int, least: int, most: int) -> None:
    table = coverage(simulations, resamples=300, seed=11, scale=0.5)
    for figure in ("balanced_accuracy", "malignant_auroc", "sensitivity"):
        for way in ("ours", "paired"):
            assert least <= round(table[f"{figure}, {way}"]["covered"] * simulations) <= most, (figure, way)
