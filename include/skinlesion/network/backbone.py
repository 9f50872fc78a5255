"""MobileNetV2 without its top: where its weights come from, and the network itself."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import is_disk_full
from skinlesion.network import quiet_tensorflow
from skinlesion.network.model_file import problems_of, require_readable_weights, require_small
from skinlesion.network.settings import ModelSettings

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

PREPROCESSING_VERSION: Final = 1
"""Number of the preprocessing. Count it up when the pixels that the network sees change for a reason that is no setting."""

KERAS_FILE: Final = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
"""Name of the file in which Keras caches MobileNetV2 (width 1.0, 224 pixels) without its top."""


DRAWN_FILE: Final = Path(__file__).parent / "mobilenet_v2_drawn.weights.h5"
"""Weights (float16) that this project trained from scratch on pictures that it draws: tools/drawn_backbone."""

GOING_ON_WITH_DRAWN: Final = (
    "Going on with `weights=drawn`, a backbone that this project trained on drawn pictures alone: every stage does its "
    "work, but on photographs of skin the model will be worse than with ImageNet's weights."
)
"""What people are told where `drawn` stands in for `imagenet`."""


class WeightsUnavailable(OSError):
    """ImageNet's weights are not in Keras's cache and cannot be downloaded now. A later attempt may succeed."""


@dataclass(frozen=True)
class BackboneWeights:
    """The initial weights of the backbone.

    Attributes:
        path: the .h5 file that holds them; None for random weights.
        key: names their content.
    """

    path: Path | None
    key: str


def keras_cache_path() -> Path:
    """Return the path where Keras looks for ImageNet's weights before it downloads them."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "models" / KERAS_FILE


def weights_path(config: ModelSettings) -> Path | None:
    """Return the path where the backbone's initial weights are, or belong; None for random ones."""
    if config.weights == "random":
        return None
    named = {"imagenet": keras_cache_path(), "drawn": DRAWN_FILE}
    return named.get(config.weights) or Path(config.weights).expanduser()


def find_weights(config: ModelSettings) -> BackboneWeights:
    """Return the backbone's initial weights. ImageNet's are downloaded unless they are in Keras's cache.

    Raises DataError for a path without a file and WeightsUnavailable if the download fails. Both messages say where to put
    the file.
    """
    path = weights_path(config)
    if path is None:
        return BackboneWeights(None, f"random{config.seed}")
    if not path.is_file():
        if config.weights != "imagenet":
            raise DataError(
                f"{path} is missing: expected MobileNetV2's weights without top in Keras's layout (.h5). Put the file "
                "there, or set `weights` to `imagenet` or `drawn`."
            )
        _download()
    with problems_of(path, "MobileNetV2's weights"):
        require_small(path)
    return BackboneWeights(path, sha256_of(path)[:16])


def _download() -> None:
    quiet_tensorflow.load()
    import keras

    log.info("ImageNet weights are not in Keras's cache; downloading them")
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras reports a download on standard output
            keras.applications.MobileNetV2(
                weights="imagenet", include_top=False, input_shape=(IMAGE_SIDE, IMAGE_SIDE, 3)
            )
    except Exception as error:  # Keras wraps network errors in bare Exception
        if is_disk_full(error):  # which no other weights cure, and no later attempt
            raise
        raise WeightsUnavailable(
            f"ImageNet weights cannot be downloaded ({error}). Put Keras's file {KERAS_FILE} at {keras_cache_path()}, "
            "or set `weights` to the path of a .h5 file in that layout, or to `drawn`."
        ) from None


def build_backbone(weights: BackboneWeights) -> keras.Model:
    """Return the backbone, which maps images, RGB 0..255 float32 (n, 224, 224, 3), to activations (n, 7, 7, 1280).

    Its first layer rescales pixels to [-1, 1] as MobileNetV2 expects, so that no caller has to.
    """
    import keras

    image = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)
    if weights.path is None:
        backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=scaled)
        _prepare_random(backbone)
        return backbone
    with problems_of(weights.path, "MobileNetV2's weights (1.0, 224, without top) in Keras's layout"):
        require_readable_weights(weights.path)
        return keras.applications.MobileNetV2(include_top=False, weights=str(weights.path), input_tensor=scaled)


def _prepare_random(backbone: keras.Model) -> None:
    """Set random weights, in place, that preserve part of the image through the 52 layers of the backbone.

    With Keras's own initial weights the activations of the last layer are the same for every image. Here depthwise kernels
    average, pointwise kernels are orthogonal (Saxe et al., arXiv:1312.6120), and the statistics of BatchNormalization are
    those of a batch of coloured blobs, so that a head can at least distinguish colours.
    """
    import keras

    for number, layer in enumerate(backbone.layers):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.kernel.assign(np.full(layer.kernel.shape, 1 / 9, dtype=np.float32))
        elif isinstance(layer, keras.layers.Conv2D) and tuple(layer.kernel_size) == (1, 1):
            layer.kernel.assign(keras.initializers.Orthogonal(seed=number)(layer.kernel.shape))
    draws = np.random.default_rng(0)
    sizes = (3, 5, 8, 14, 28, 56, 112, 224)  # sides of the grids of colours: from large blobs to fine ones
    grids = [draws.uniform(0, 255, (size, size, 3)).astype(np.float32) for size in sizes]
    blobs = np.stack([cv2.resize(grid, (IMAGE_SIDE, IMAGE_SIDE)) for grid in grids])
    normalisations = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalisations]
    for layer in normalisations:
        layer.momentum = 0.0
    keras.Model(backbone.inputs[0], backbone.output)(blobs, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum


def activations_folder(dataset: Path, weights_key: str, cut: str, orientations: int) -> Path:
    """Return the folder that stores the activations of the layer `cut` for this number of orientations."""
    return layout.features(dataset) / f"{weights_key}-{cut}-v{PREPROCESSING_VERSION}-x{orientations}"
