"""MobileNetV2 without its top: its weights, and its frozen part as LiteRT and as Keras run it."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skinlesion import atomic
from skinlesion.config import IMAGE_SIDE, PipelineConfig
from skinlesion.errors import DataError

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

PREPROCESSING_VERSION: Final = 1
"""Counts up when the pixels that the network sees change for a reason that no setting tells."""

KERAS_FILE: Final = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
"""The name under which Keras caches and downloads MobileNetV2 (1.0, 224) without top."""


class WeightsUnavailable(OSError):
    """ImageNet's weights are not in the cache and cannot be downloaded now; another try may succeed."""


@dataclass(frozen=True)
class BackboneWeights:
    """Where the weights come from. `path` is None for random ones; `key` names their content."""

    path: Path | None
    key: str


def keras_cache_path() -> Path:
    """Give the path where Keras looks for ImageNet's weights before it downloads them."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "models" / KERAS_FILE


def find_weights(config: PipelineConfig) -> BackboneWeights:
    """Find the backbone's weights; ImageNet's are downloaded when Keras has no file of them.

    Raises DataError for a path without a file and WeightsUnavailable when the download fails; both say where to put
    the file.
    """
    if config.weights == "random":
        return BackboneWeights(None, f"random{config.seed}")
    path = keras_cache_path() if config.weights == "imagenet" else Path(config.weights).expanduser()
    if not path.is_file():
        if config.weights != "imagenet":
            raise DataError(
                f"{path} is missing: expected MobileNetV2's weights without top in Keras's layout (.h5). Put the file "
                "there, or set `weights` to `imagenet` or `random`."
            )
        _download()
    return BackboneWeights(path, hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def _download() -> None:
    import keras

    log.info("ImageNet weights are not in Keras's cache; downloading them")
    try:
        keras.applications.MobileNetV2(weights="imagenet", include_top=False, input_shape=(IMAGE_SIDE, IMAGE_SIDE, 3))
    except Exception as error:  # Keras wraps network errors in bare Exception
        raise WeightsUnavailable(
            f"ImageNet weights cannot be downloaded ({error}). Put Keras's file {KERAS_FILE} at {keras_cache_path()}, "
            "or set `weights` to the path of a .h5 file in that layout, or to `random`."
        ) from None


def build_backbone(weights: BackboneWeights) -> keras.Model:
    """Give the backbone: RGB 0..255 float32 (n, 224, 224, 3) to activations (n, 7, 7, 1280).

    Rescaling to [-1, 1] is its first layer, so that nobody who feeds it can get that wrong.
    """
    import keras

    image = keras.Input((IMAGE_SIDE, IMAGE_SIDE, 3), name="image")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(image)
    try:
        return keras.applications.MobileNetV2(
            include_top=False, weights=str(weights.path) if weights.path else None, input_tensor=scaled
        )
    except (ValueError, OSError, KeyError) as error:
        if weights.path is None:
            raise
        raise DataError(
            f"{weights.path} does not hold MobileNetV2's weights (1.0, 224, without top) in Keras's layout: {error}"
        ) from None


def activations_key(weights_key: str, cut: str) -> str:
    """Give the name of the folder that stores these activations."""
    return f"{weights_key}-{cut}-v{PREPROCESSING_VERSION}"


def convert_to_litert(model: keras.Model, path: Path) -> None:
    """Write a model as LiteRT runs it: float32, a batch of one.

    `model.export(format="litert")` gives the same outputs but goes through a SavedModel, which takes five times as long.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda batch: model(batch, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    constant = convert_variables_to_constants_v2(concrete)
    atomic.write_bytes(path, tf.lite.TFLiteConverter.from_concrete_functions([constant]).convert())


class LiteRTModel:
    """A model run by LiteRT (XNNPACK) on one thread, one image a call.

    One image a call is the fastest on a CPU, and it makes an image's result independent of what else is in a batch. To
    use more cores make one for each thread: `invoke` releases the interpreter's lock.
    """

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(str(path), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        output = self._interpreter.get_output_details()[0]
        self._output = output["index"]
        self.output_shape: tuple[int, ...] = tuple(int(size) for size in output["shape"][1:])

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Give the output, float32, for one image, RGB uint8 (224, 224, 3)."""
        self._interpreter.set_tensor(self._input, image[np.newaxis].astype(np.float32))
        self._interpreter.invoke()
        result: npt.NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return result
