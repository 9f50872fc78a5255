"""A part whose frozen BatchNormalizations are folded computes, before and after training, what the part computes."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from tests.network.test_trainable_layers import ABOVE_THE_CUT, CUT, trained_part

from skinlesion.network.backbone import BackboneWeights
from skinlesion.network.classifier import build_classifier, set_trainable
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.folded import FoldedPart


@pytest.fixture(scope="module")
def built() -> keras.Model:
    """Return a classifier whose BatchNormalizations scale their channels by very different factors."""
    built = build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))
    draws = np.random.default_rng(0)
    for layer in built.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            weights = [draws.uniform(low, high, size) for low, high in ((0.1, 3), (-1, 1), (-1, 1), (0.01, 4))]
            weights[0][0] = 0  # a channel that BatchNormalization switches off
            layer.set_weights(weights)
    return built


@pytest.fixture
def model(built: keras.Model) -> Iterator[keras.Model]:
    """Yield the classifier, whose weights are restored after the test."""
    weights = built.get_weights()
    yield built
    built.set_weights(weights)


@pytest.mark.parametrize("from_layer", [CUT, None], ids=["tail", "full"])
def test_the_folded_part_computes_what_the_part_does(model: keras.Model, from_layer: str | None) -> None:
    set_trainable(model, from_layer=from_layer)
    part = model if from_layer is None else trained_part(model, CUT)
    folded = FoldedPart(part).model
    inputs = np.random.default_rng(1).uniform(0, 1, (3, *part.input_shape[1:])).astype(np.float32)
    assert np.asarray(folded(inputs)) == pytest.approx(np.asarray(part(inputs)), abs=1e-5)
    assert not [layer for layer in folded.trainable_weights if "BN" in layer.path]


def test_untrained_unfolding_changes_nothing_and_trained_gives_the_trained_function(model: keras.Model) -> None:
    set_trainable(model, from_layer=CUT)
    part = trained_part(model, CUT)
    folded = FoldedPart(part)
    before = [np.asarray(weight) for weight in model.weights]
    folded.unfold()
    for now, then in zip(model.weights, before, strict=True):
        np.testing.assert_allclose(now, then, rtol=1e-5, atol=1e-7)

    draws = np.random.default_rng(2)
    inputs = draws.uniform(0, 1, (8, *part.input_shape[1:])).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[draws.integers(0, 3, 8)]
    folded.model.compile(optimizer=keras.optimizers.AdamW(1e-2), loss="categorical_crossentropy", run_eagerly=True)
    untrained = np.asarray(part(inputs))
    folded.model.fit(inputs, targets, epochs=2, verbose=0)
    trained = np.asarray(folded.model(inputs))
    folded.unfold()
    assert np.abs(trained - untrained).max() > 1e-3
    assert np.asarray(part(inputs)) == pytest.approx(trained, abs=1e-5)


def test_only_kernels_above_the_cut_and_the_head_are_changed(model: keras.Model) -> None:
    set_trainable(model, from_layer=CUT)
    folded = FoldedPart(trained_part(model, CUT))
    before = {weight.path: np.asarray(weight) for weight in model.weights}
    for weight in folded.model.trainable_weights:
        weight.assign(weight + 1)
    folded.unfold()
    changed = {w.path.split("/")[0] for w in model.weights if not np.array_equal(np.asarray(w), before[w.path])}
    assert changed == ABOVE_THE_CUT
