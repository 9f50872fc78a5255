"""Grad-CAM: which regions of an image raise the score of a class.

Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017. The map has
the resolution of the last convolution, 7x7, and is enlarged. It shows where the network responds, neither why nor whether
rightly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS

if TYPE_CHECKING:
    import keras

Pixels = npt.NDArray[np.uint8]

LAST_CONVOLUTION: Final = "out_relu"
"""Name of the layer of MobileNetV2's last activations, (7, 7, 1280), with which that of the mirrored branch begins too."""

STRONGEST: Final = 0.5
"""Opacity of the overlay where the heat is 1. Where the heat is 0 the overlay is transparent."""


@dataclass(frozen=True)
class HeatMap:
    """The heat map of an image for a class.

    Attributes:
        heat: float32 (224, 224), 0..1, about 1 at its maximum; all 0 if no region raises the score.
        overlay: RGB uint8 (224, 224, 3), the image with the heat on it.
    """

    heat: npt.NDArray[np.float32]
    overlay: Pixels


class GradCam:
    """Computes heat maps of a classifier. Make one and call it for many images, from one thread at a time."""

    def __init__(self, model: keras.Model) -> None:
        """Take a classifier as `skinlesion.network.classifier.load_classifier` returns it.

        Raises ValueError for a model in which no layer has activations of shape (n, h, w, channels).
        """
        import keras
        import tensorflow as tf

        last = model.layers[-1]
        # The gradient is that of the logit: after the softmax, the gradient of a probability near 1 is nearly 0 everywhere.
        is_softmax = isinstance(last, keras.layers.Dense) and last.activation is keras.activations.softmax
        activations = _last_activations(model)
        convolutions = keras.Model(model.inputs[0], activations)
        head = keras.Model(activations, last.input if is_softmax else model.outputs[0])

        def scores(maps: Any) -> Any:
            hidden = head(maps, training=False)
            if is_softmax:
                return tf.matmul(hidden, last.kernel) + last.bias
            return tf.math.log(tf.maximum(hidden, 1e-12))

        def gradients(image: Any, label: Any) -> tuple[Any, Any]:
            maps = convolutions(image, training=False)
            with tf.GradientTape() as tape:
                tape.watch(maps)
                score = scores(maps)[:, label]
            # The channels of both branches count as those of one layer.
            return tf.concat(maps, axis=-1), tf.concat(tape.gradient(score, maps), axis=-1)

        self._gradients = tf.function(gradients, reduce_retracing=True)

    def __call__(self, image: Pixels, label: str) -> HeatMap:
        """Return the heat map of one image, RGB uint8 (224, 224, 3), for a class of `LABELS`."""
        import tensorflow as tf

        batch = tf.constant(image[np.newaxis], dtype=tf.float32)
        activations, gradients = self._gradients(batch, tf.constant(LABELS.index(label)))
        weights = np.asarray(gradients)[0].mean(axis=(0, 1))
        small = np.maximum(np.asarray(activations)[0] @ weights, 0)
        if small.max() > 0:
            small = small / small.max()
        heat = cv2.resize(small.astype(np.float32), image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        heat = np.clip(heat, 0, 1)  # cubic interpolation overshoots
        return HeatMap(heat, overlay(image, heat))


def overlay(image: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """Return an image, RGB uint8 (h, w, 3), with a heat map (h, w), 0..1, on it, from transparent over red to yellow."""
    colours = cv2.applyColorMap(np.round(255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (STRONGEST * heat)[..., np.newaxis]
    return np.round((1 - opacity) * image + opacity * colours).astype(np.uint8)


def _last_activations(model: keras.Model) -> list[Any]:
    """Return the output of `out_relu` of each branch, in another network that of the last layer with height and width."""
    if last := [layer.output for layer in model.layers if layer.name.startswith(LAST_CONVOLUTION)]:
        return last
    for layer in reversed(model.layers):
        if len(getattr(layer.output, "shape", ())) == 4:
            return [layer.output]
    raise ValueError("expected a classifier with a convolution; its layers have no activations of shape (n, h, w, c)")
