"""A GPU, if the machine has one: TensorFlow runs the frozen part on it, in batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from skinlesion.network import quiet_tensorflow

if TYPE_CHECKING:
    import keras

BATCH: Final = 256
"""Images a batch: enough to fill a GPU, 154 MB of float32 pixels."""

_DEVICE_FILES: Final = ("nvidia[0-9]*", "dxg", "kfd")  # Nvidia; Nvidia under WSL; AMD


def is_there() -> bool:
    """Return whether TensorFlow can use a GPU. Without a device file the import of TensorFlow, seconds, is saved."""
    if not any(path for pattern in _DEVICE_FILES for path in Path("/dev").glob(pattern)):
        return False
    quiet_tensorflow.load()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def tensorflow_installed() -> dict[str, str]:
    """Return the version of TensorFlow by the name of its package: `tensorflow` with Nvidia's libraries, or `tensorflow-cpu`."""
    for name in ("tensorflow", "tensorflow-cpu"):
        try:
            return {name: version(name)}
        except PackageNotFoundError:
            continue
    return {}


def in_batches(model: keras.Model, images: Iterable[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.float16]]:
    """Yield the model's output, float16, for each image, RGB uint8 (224, 224, 3), in their order.

    The images are consumed one batch at a time. TensorFloat-32 is switched off: its mantissa of 10 bits would show in the
    stored activations.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
    shape = (None, *model.input_shape[1:])
    run = tf.function(
        lambda batch: tf.cast(model(tf.cast(batch, tf.float32), training=False), tf.float16),
        input_signature=[tf.TensorSpec(shape, tf.uint8)],
        autograph=False,
    )
    iterator = iter(images)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield from run(np.stack(batch)).numpy()
