"""Grad-CAM finds the place that a class rests on, in a network small enough to know it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from skinlesion.network.grad_cam import GradCam, overlay

BRIGHT = np.full((224, 224, 3), 20, np.uint8)
BRIGHT[160:200, 32:64] = 250
"""A light patch at the left, below the middle."""


def network(softmax: bool = True, scale: float = 1.0, name: str = "out_relu") -> keras.Model:
    """Return a network that pools light over 7x7 places; malignant is where there is light, benign where there is none."""
    image = keras.Input((224, 224, 3))
    places = keras.layers.AveragePooling2D(32, name=name)(image)
    pooled = keras.layers.GlobalAveragePooling2D()(places)
    last = keras.layers.Dense(3, activation="softmax" if softmax else "sigmoid", name="probabilities")
    model = keras.Model(image, last(pooled))
    light = np.tile([-1.0, 1.0, 0.0], (3, 1)) * scale / 100
    last.set_weights([light, np.zeros(3)])
    return model


@pytest.mark.parametrize("softmax", [True, False])
def test_the_heat_lies_where_the_class_is_seen(softmax: bool) -> None:
    found = GradCam(network(softmax))(BRIGHT, "malignant")
    assert found.heat.shape == (224, 224)
    assert found.heat.dtype == np.float32
    assert found.heat.min() >= 0 and found.heat.max() == pytest.approx(1, abs=0.01)
    row, column = np.unravel_index(found.heat.argmax(), found.heat.shape)
    assert 150 < row < 210 and 20 < column < 76
    assert found.heat[:100, 120:].max() < 0.3


def test_what_speaks_against_a_class_is_no_heat() -> None:
    assert not GradCam(network())(BRIGHT, "benign").heat.any()


def test_a_certain_answer_has_a_heat_map_as_well() -> None:
    sure = network(scale=1000)
    assert np.asarray(sure(BRIGHT[np.newaxis].astype(np.float32)))[0, 1] == 1
    assert GradCam(sure)(BRIGHT, "malignant").heat.max() == pytest.approx(1, abs=0.01)


def test_the_overlay_leaves_cold_places_and_colours_hot_ones() -> None:
    heat = np.zeros((224, 224), np.float32)
    heat[:10] = 1
    found = overlay(BRIGHT, heat)
    assert found.shape == BRIGHT.shape
    assert found.dtype == np.uint8
    assert np.array_equal(found[10:], BRIGHT[10:])
    red, green, blue = found[0, 0].tolist()
    assert min(red, green) > blue + 30, "yellow, of RGB"


def test_a_network_without_that_layer_gives_its_last_activations_with_a_place() -> None:
    found, expected = (GradCam(network(name=name))(BRIGHT, "malignant").heat for name in ("other", "out_relu"))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_network_without_a_convolution_is_refused() -> None:
    image = keras.Input((224,))
    with pytest.raises(ValueError, match="no activations of shape"):
        GradCam(keras.Model(image, keras.layers.Dense(3, activation="softmax")(image)))
