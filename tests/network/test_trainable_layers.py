import keras
import numpy as np
import pytest

from skinlesion.data.labels.classes import LABELS
from skinlesion.network.backbone import BackboneWeights
from skinlesion.network.classifier import build_classifier, seed_dropout, set_trainable
from skinlesion.network.settings import POOLED
from skinlesion.stages.settings import PipelineConfig

CUT = "block_15_add"
ABOVE_THE_CUT = {
    *(f"block_16_{part}" for part in ("expand", "depthwise", "project")),
    "Conv_1",
    "head_dense",
    "probabilities",
}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


def fit_a_step(model: keras.Model) -> None:
    draws = np.random.default_rng(0)
    inputs = draws.uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
    targets = np.eye(len(LABELS), dtype=np.float32)[[0, 1]]
    model.compile(optimizer=keras.optimizers.SGD(1e-3), loss="categorical_crossentropy", run_eagerly=True)
    model.fit(inputs, targets, batch_size=2, epochs=1, verbose=0)


def trained_part(model: keras.Model, cut: str) -> keras.Model:
    return keras.Model(model.get_layer(cut).output, model.output)


@pytest.mark.parametrize("from_layer", [POOLED, CUT, None], ids=["head", "tail", "full"])
def test_batch_norm_statistics_do_not_move_in_a_fit_step(model: keras.Model, from_layer: str | None) -> None:
    set_trainable(model, from_layer=from_layer)
    before = [layer.get_weights() for layer in batch_norms(model)]
    kernel_before = model.get_layer("probabilities").get_weights()[0]
    fit_a_step(model)
    assert not np.array_equal(model.get_layer("probabilities").get_weights()[0], kernel_before), "the step did train"
    for layer, weights in zip(batch_norms(model), before, strict=True):
        for now, then in zip(layer.get_weights(), weights, strict=True):
            assert np.array_equal(now, then), layer.name


def test_only_layers_above_the_cut_are_trained(model: keras.Model) -> None:
    set_trainable(model, from_layer=CUT)
    trained = {variable.path.split("/")[0] for variable in model.trainable_variables}
    assert trained == ABOVE_THE_CUT


def test_seeded_dropout_draws_the_same_again(model: keras.Model) -> None:
    part = trained_part(model, POOLED)
    vectors = np.ones((2, 1280), dtype=np.float32)

    def draw(*seed: int) -> np.ndarray:
        seed_dropout(part, seed)
        return np.asarray(part(vectors, training=True))

    assert np.array_equal(draw(0, 1, 2), draw(0, 1, 2))
    assert not np.array_equal(draw(0, 1, 2), draw(0, 1, 3))
