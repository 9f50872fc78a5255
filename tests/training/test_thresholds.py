"""Temperature and thresholds find what made-up scores were made with."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from skinlesion.training.thresholds import fit_temperature, malignant_threshold, tempered


def drawn(images: int, seed: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated logits (n, 3) of a skewed mixture and labels drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal((2.0, 0.0, -1.5), spread, (images, 3))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    return logits, (rng.random((images, 1)) > cumulative[:, :2]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_probabilities_too_sure_is_found(temperature: float) -> None:
    logits, labels = drawn(4000, seed=1)
    stretched = log_softmax(logits * temperature, axis=1)
    assert fit_temperature(stretched, labels) == pytest.approx(temperature, rel=0.07)


def test_of_a_handful_of_images_the_temperature_stays_near_one() -> None:
    sure = log_softmax(np.array([(9.0, 0.0, 0.0), (0.0, 9.0, 0.0), (0.0, 0.0, 9.0)]), axis=1)
    assert 0.3 < fit_temperature(sure, np.array([0, 1, 2])) <= 1
    assert 1 <= fit_temperature(sure, np.array([0, 1, 1])) < 6


def test_the_logits_are_divided_by_the_temperature() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (5, 3))
    assert tempered(log_softmax(logits, axis=1), 1.7) == pytest.approx(softmax(logits / 1.7, axis=1))


@pytest.mark.parametrize(("sensitivity", "off_by"), [(0.8, 0.06), (0.95, 0.03)])
def test_the_threshold_reaches_its_sensitivity_on_images_that_it_has_not_seen(
    sensitivity: float, off_by: float
) -> None:
    reached = []
    for seed in range(20):
        logits, labels = drawn(800, seed)
        threshold = malignant_threshold(softmax(logits, axis=1), labels, sensitivity)
        others, of_others = drawn(4000, seed + 1000)
        reached.append((softmax(others, axis=1)[of_others == 1, 1] >= threshold).mean())
    assert np.mean(reached) == pytest.approx(sensitivity, abs=0.01)
    assert np.abs(np.array(reached) - sensitivity).max() < off_by


def test_the_threshold_is_steadier_than_the_malignant_images_own_quantile() -> None:
    ours, theirs = [], []
    for seed in range(60):
        logits, labels = drawn(800, seed)
        probabilities = softmax(logits, axis=1)
        ours.append(malignant_threshold(probabilities, labels, 0.95))
        theirs.append(np.quantile(probabilities[labels == 1, 1], 0.05))
    assert np.std(ours) < 0.7 * np.std(theirs)


def test_many_malignant_images_outweigh_probabilities_that_are_wrong() -> None:
    logits, labels = drawn(60_000, seed=3)
    wrong = softmax(logits + np.array([0, 1.5, 0]), axis=1)
    threshold = malignant_threshold(wrong, labels, 0.95)
    assert (wrong[labels == 1, 1] >= threshold).mean() == pytest.approx(0.95, abs=0.01)


def test_a_threshold_is_found_without_any_malignant_image_and_without_any_image() -> None:
    logits, _ = drawn(200, seed=0)
    assert 0 < malignant_threshold(softmax(logits, axis=1), np.zeros(200, dtype=np.int64), 0.95) < 0.5
    assert malignant_threshold(np.empty((0, 3)), np.empty(0, dtype=np.int64), 0.95) == 0.5
