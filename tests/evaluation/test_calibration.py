"""Temperature scaling can be undone, and its effect is measured on the held-out images and the inner fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from tests.measured import known

from skinlesion.evaluation.calibration import calibration_before_and_after, calibration_error, without_temperature
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.registry.metrics_record import Reliability


def test_the_probabilities_before_temperature_are_those_of_the_undivided_logits() -> None:
    logits = np.random.default_rng(0).normal(scale=3, size=(50, 3))
    np.testing.assert_allclose(
        without_temperature(softmax(logits / 1.7, axis=1), 1.7), softmax(logits, axis=1), atol=1e-12
    )


def test_probabilities_of_zero_stay_probabilities() -> None:
    found = without_temperature(np.array([[1.0, 0.0, 0.0]]), 2.0)
    assert np.isfinite(found).all() and found.sum() == pytest.approx(1)


def test_both_sets_are_measured_before_and_after() -> None:
    random = np.random.default_rng(1)
    logits = random.normal(scale=2, size=(3000, 3))
    labels = np.array([random.choice(3, p=row) for row in softmax(logits, axis=1)])
    scored = ScoredImages.of(labels, softmax(logits, axis=1), [str(at) for at in range(3000)])
    bins = calibration_error(scored.right, scored.confidence)[1]
    inner = {"ece_before": 0.2, "ece_after": 0.01, "reliability_before": [one.model_dump() for one in bins]}
    found = calibration_before_and_after(scored, 0.4, inner)
    assert known(found.held_out.after.expected_calibration_error) < 0.03
    assert known(found.held_out.before.expected_calibration_error) > 0.1
    assert found.held_out.after.reliability == bins
    assert found.inner_fold.before == Reliability(expected_calibration_error=0.2, reliability=bins)
    assert found.inner_fold.after.expected_calibration_error == 0.01


def test_an_inner_fold_without_figures_is_not_measured() -> None:
    scored = ScoredImages.of(np.array([0, 1]), np.eye(3)[[0, 1]], ["a", "b"])
    found = calibration_before_and_after(scored, 1.0, {"images": 0})
    assert found.inner_fold.before == Reliability(expected_calibration_error=None, reliability=[])
