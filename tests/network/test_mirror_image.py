"""Tests of the network with a second branch: of a small backbone, and what is slow of MobileNetV2."""

import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tests.small_backbone import built_small

from skinlesion.data.labels.classes import LABELS
from skinlesion.network.backbone import BackboneWeights
from skinlesion.network.classifier import build_classifier, load_classifier, save_model
from skinlesion.network.feature_distance import with_features
from skinlesion.network.grad_cam import GradCam
from skinlesion.network.litert import LiteRTModel, convert_to_litert
from skinlesion.network.mirror_image import take_first_branch, with_mirror_image
from skinlesion.stages.settings import PipelineConfig

CUT = "block_13_project_BN"
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3)).repeat(8, 1).repeat(8, 2).astype(np.float32)


def small_backbone(weights: Any) -> keras.Model:
    """Return a network with each kind of layer and of padding that MobileNetV2 has, and its names where they count."""
    layers = keras.layers
    image = keras.Input((224, 224, 3), name="image")
    seen = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)
    seen = layers.AveragePooling2D(8, name="smaller")(seen)
    seen = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="Conv1")(seen)
    seen = layers.ReLU(6, name="Conv1_relu")(seen)
    seen = layers.BatchNormalization(name="block_6_project_BN")(seen)
    seen = layers.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(seen)
    seen = layers.DepthwiseConv2D(3, strides=2, name="depthwise")(seen)
    seen = layers.Conv2D(96, 1, name="project")(seen)
    seen = layers.Add(name="block_12_add")([seen, layers.DepthwiseConv2D(3, padding="same", name="expand")(seen)])
    seen = layers.Conv2D(24, 1, name="block_13_project")(seen)
    seen = layers.BatchNormalization(name=CUT)(seen)
    seen = layers.Add(name="last_add")([seen, layers.DepthwiseConv2D(3, padding="same", name="last")(seen)])
    seen = layers.Conv2D(32, 1, name="Conv_1")(seen)
    seen = layers.ReLU(6, name="out_relu")(seen)
    return keras.Model(image, seen)


@pytest.fixture(scope="module", params=["small", pytest.param("MobileNetV2", marks=pytest.mark.slow)], autouse=True)
def backbone(request: pytest.FixtureRequest) -> Iterator[None]:
    with built_small(small_backbone) if request.param == "small" else nullcontext():
        yield


def network(change: float = 0.0) -> keras.Model:
    """Return a network whose layers above the cut are changed."""
    made = build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))
    layers = made.layers[made.layers.index(made.get_layer(CUT)) + 1 :]
    draws = np.random.default_rng(1)
    for layer in layers if change else ():
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            layer.set_weights([w + change * draws.normal(size=w.shape) * (w.std() + 0.1) for w in layer.get_weights()])
    return made


def logits(model: keras.Model, images: npt.NDArray[np.float32] = IMAGES) -> npt.NDArray[np.float64]:
    """Return the logits less their mean, which the softmax does not see."""
    logarithms: npt.NDArray[np.float64] = np.log(np.asarray(model(images, training=False), dtype=np.float64))
    return np.asarray(logarithms - logarithms.mean(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def alone(backbone: None) -> keras.Model:
    return network(0.2)


@pytest.fixture(scope="module")
def joined(alone: keras.Model) -> keras.Model:
    return with_mirror_image(alone, CUT)


@pytest.mark.parametrize("backbone", ["small", "MobileNetV2"], indirect=True)
@pytest.mark.parametrize("cut", [CUT, "block_6_project_BN"])
def test_the_logits_are_the_mean_of_those_of_the_image_and_of_its_mirror_image(alone: keras.Model, cut: str) -> None:
    both = logits(alone), logits(alone, IMAGES[:, :, ::-1])
    assert np.abs(both[0] - both[1]).max() > 1e-3, "the network tells them apart"
    joined = with_mirror_image(alone, cut)
    np.testing.assert_allclose(logits(joined), np.mean(both, axis=0), atol=1e-5)
    np.testing.assert_allclose(logits(joined, IMAGES[:, :, ::-1]), np.mean(both, axis=0), atol=1e-5)


def test_the_names_of_the_second_branch_say_on_which_side_of_the_cut_a_layer_is(joined: keras.Model) -> None:
    names = {layer.name for layer in joined.layers}
    assert {f"{CUT}_mirrored", "Conv_1_branch_2", "head_dense_branch_2"} <= names
    assert not {f"{CUT}_branch_2", "Conv_1_mirrored"} & names


def test_the_first_branch_is_taken_back_from_one_branch_and_from_two(alone: keras.Model, joined: keras.Model) -> None:
    for model in (alone, joined):
        into = network()
        take_first_branch(model, into)
        np.testing.assert_array_equal(logits(into), logits(alone))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_it_is_saved_and_loaded_with_the_bounds_for_files_from_outside(
    joined: keras.Model, suffix: str, tmp_path: Path
) -> None:
    save_model(joined, tmp_path / f"model{suffix}")
    np.testing.assert_allclose(logits(load_classifier(tmp_path / f"model{suffix}")), logits(joined), atol=1e-6)


def test_no_address_of_this_process_is_in_the_file(alone: keras.Model, tmp_path: Path) -> None:
    save_model(alone, tmp_path / "built.h5")
    loaded = load_classifier(tmp_path / "built.h5")
    save_model(with_mirror_image(loaded, CUT), tmp_path / "joined.keras")
    with zipfile.ZipFile(tmp_path / "joined.keras") as archive:
        assert b"shared_object_id" not in archive.read("config.json")


def test_litert_answers_alike(joined: keras.Model, tmp_path: Path) -> None:
    convert_to_litert(with_features(joined), tmp_path / "model.tflite")
    found = LiteRTModel(tmp_path / "model.tflite")(IMAGES[0].astype(np.uint8))
    np.testing.assert_allclose(found, np.asarray(joined(IMAGES, training=False))[0], atol=1e-4)


def test_the_heat_map_is_that_of_both_branches(alone: keras.Model, joined: keras.Model) -> None:
    image = IMAGES[0].astype(np.uint8)
    heat = {label: GradCam(joined)(image, label).heat for label in LABELS}
    label = max(LABELS, key=lambda label: float(heat[label].sum()))
    assert heat[label].shape == (224, 224) and heat[label].max() > 0.9
    assert not np.allclose(heat[label], GradCam(alone)(image, label).heat, atol=0.05)
