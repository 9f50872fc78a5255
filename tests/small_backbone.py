"""A network of a few thousand weights in the place of MobileNetV2's two millions, for tests to which any network will do.

To build, train, convert, store and evaluate it takes a fifth of the processor time. What the rest of the product asks for by
name is there. MobileNetV2 itself is in `two_classifiers`, tests/network, in `embedded_with_mobilenetv2`, with which tests/stages builds,
embeds and trains, and in the slow cases of tests/network/test_mirror_image.py and tests/end_to_end/test_training_ways.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

WIDTH = 16
"""Values of an image's pooled vector."""


def small_backbone(weights: Any) -> Any:
    """Return a network from an image to activations (n, 7, 7, `WIDTH`) that has the layers which the product asks for by name."""
    import keras

    layers = keras.layers
    image = keras.Input((224, 224, 3), name="image")
    seen = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)
    seen = layers.AveragePooling2D(32, name="small")(seen)
    for number, (name, width) in enumerate((("Conv1_relu", 32), ("block_12_add", 96), ("out_relu", WIDTH))):
        start = keras.initializers.GlorotUniform(seed=number)
        seen = layers.Conv2D(width, 1, activation="relu", name=name, kernel_initializer=start)(seen)
    return keras.Model(image, seen, name="small_backbone")


@contextmanager
def built_small(backbone: Callable[[Any], Any] = small_backbone) -> Iterator[None]:
    """Let `build` build classifiers with the small backbone, or with this one, within the block."""
    from skinlesion.network import classifier

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "build_backbone", backbone)
        yield
