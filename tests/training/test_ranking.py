"""The loss ranks malignant images above others, and is the cross-entropy where there is nothing to rank."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from skinlesion.data.labels.classes import LABELS
from skinlesion.training.ranking import RankedCrossEntropy, pairs_out_of_order

CLASSES = ("malignant", "benign", "malignant", "unknown", "benign")


def one_hot(classes: tuple[str, ...]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[[LABELS.index(name) for name in classes]]


def drawn(rows: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet((1, 1, 1), rows).astype(np.float32)


def test_it_is_the_mean_over_all_pairs_of_a_malignant_image_and_another() -> None:
    probabilities = drawn(len(CLASSES))
    p = probabilities[:, LABELS.index("malignant")].astype(np.float64)
    z = np.log(p / (1 - p))
    pairs = [np.log1p(np.exp(z[other] - z[malignant])) for malignant in (0, 2) for other in (1, 3, 4)]
    assert float(pairs_out_of_order(one_hot(CLASSES), probabilities)) == pytest.approx(np.mean(pairs), rel=1e-5)


def test_the_right_order_costs_less_than_the_wrong_one() -> None:
    high, low = [0.1, 0.8, 0.1], [0.6, 0.2, 0.2]
    right = pairs_out_of_order(one_hot(("malignant", "benign")), np.array([high, low], dtype=np.float32))
    wrong = pairs_out_of_order(one_hot(("malignant", "benign")), np.array([low, high], dtype=np.float32))
    assert float(right) < np.log(2) < float(wrong)


@pytest.mark.parametrize("classes", [("benign", "unknown", "benign"), ("malignant", "malignant")])
def test_a_batch_without_a_pair_has_the_cross_entropy_alone(classes: tuple[str, ...]) -> None:
    targets, probabilities = one_hot(classes), drawn(len(classes))
    entropy = keras.losses.CategoricalCrossentropy(label_smoothing=0.05)(targets, probabilities)
    assert float(RankedCrossEntropy(0.05, 0.5)(targets, probabilities)) == pytest.approx(float(entropy), rel=1e-6)


def test_without_a_weight_it_is_the_cross_entropy_and_with_one_more() -> None:
    targets, probabilities = one_hot(CLASSES), drawn(len(CLASSES))
    weights = np.array([1, 2, 0.5, 1, 1], dtype=np.float32)
    entropy = float(keras.losses.CategoricalCrossentropy(label_smoothing=0.05)(targets, probabilities, weights))
    assert float(RankedCrossEntropy(0.05, 0.0)(targets, probabilities, weights)) == pytest.approx(entropy, rel=1e-6)
    ranked = entropy + 0.5 * float(pairs_out_of_order(targets, probabilities)) * float(weights.mean())
    assert float(RankedCrossEntropy(0.05, 0.5)(targets, probabilities, weights)) == pytest.approx(ranked, rel=1e-6)


def test_certain_probabilities_have_a_finite_loss_and_gradient() -> None:
    import tensorflow as tf

    probabilities = tf.Variable(np.array([[1, 0, 0], [0, 1, 0]], dtype=np.float32))
    with tf.GradientTape() as tape:
        loss = pairs_out_of_order(one_hot(("malignant", "benign")), probabilities)
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, probabilities).numpy()).all()
