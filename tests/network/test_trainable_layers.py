import keras
import numpy as np
import pytest

from skinlesion.data.labels.classes import LABELS
from skinlesion.network.backbone import BackboneWeights
from skinlesion.network.classifier import build_classifier, seed_dropout, set_trainable
from skinlesion.network.settings import POOLED
from skinlesion.stages.settings import PipelineConfig

CUT = "block_15_add"


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


def test_the_statistics_would_move_if_batch_norm_were_trainable(model: keras.Model) -> None:
    # What the test above protects from: training=False alone does not stop them (keras#20285).
    layer = model.get_layer("block_16_project_BN")
    set_trainable(model, from_layer=CUT)
    layer.trainable = True
    before = layer.get_weights()
    fit_a_step(model)
    moved = any(not np.array_equal(now, then) for now, then in zip(layer.get_weights(), before, strict=True))
    layer.set_weights(before)
    assert moved


def test_only_layers_above_the_cut_are_trained(model: keras.Model) -> None:
    set_trainable(model, from_layer=CUT)
    trained = {variable.path.split("/")[0] for variable in model.trainable_variables}
    assert trained == {
        "block_16_expand",
        "block_16_depthwise",
        "block_16_project",
        "Conv_1",
        "head_dense",
        "probabilities",
    }


def test_the_trained_part_on_the_cuts_activations_equals_the_whole_model(model: keras.Model) -> None:
    images = np.random.default_rng(1).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)
    activations = keras.Model(model.input, model.get_layer(CUT).output)(images, training=False)
    whole, part = model(images, training=False), trained_part(model, CUT)(activations, training=False)
    assert np.allclose(np.asarray(whole), np.asarray(part), atol=1e-6)


def test_a_trained_part_shares_its_weights_with_the_model(model: keras.Model) -> None:
    part = trained_part(model, POOLED)
    part.get_layer("probabilities").bias.assign([1.0, 2.0, 3.0])
    assert model.get_layer("probabilities").bias.numpy().tolist() == [1.0, 2.0, 3.0]


def test_seeded_dropout_draws_the_same_again(model: keras.Model) -> None:
    part = trained_part(model, POOLED)
    vectors = np.ones((2, 1280), dtype=np.float32)

    def draw(*seed: int) -> np.ndarray:
        seed_dropout(part, seed)
        return np.asarray(part(vectors, training=True))

    assert np.array_equal(draw(0, 1, 2), draw(0, 1, 2))
    assert not np.array_equal(draw(0, 1, 2), draw(0, 1, 3))
