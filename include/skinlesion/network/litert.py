"""Models that LiteRT runs on a CPU, with its XNNPACK kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import read_file
from skinlesion.network import quiet_tensorflow

if TYPE_CHECKING:
    import keras

Model = TypeVar("Model")

LARGEST_MODEL: Final = 2 * 1024**3
"""Bytes; the format has no larger ones."""


def convert_to_litert(model: keras.Model, path: Path) -> None:
    """Write a model as a .tflite file, whole or not at all."""
    atomic.write_bytes(path, converted(model))


def converted(model: keras.Model) -> bytes:
    """Return the content of a .tflite file of a model: float32, a batch of one, the outputs in the model's order.

    Equal models are equal bytes, whatever the process did before.

    `model.export(format="litert")` and `TFLiteConverter.from_keras_model` result in the same outputs but go through a
    SavedModel, which takes five times as long. The converter's warning that recommends a SavedModel is not shown.
    """
    import keras
    import tensorflow as tf
    from absl import logging as absl_logging
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # A model's name is in the file, and a model without one is named after a counter of the process.
    named = keras.Model(model.inputs[0], model.outputs, name="model")
    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda batch: named(batch, training=False), autograph=False)
    concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
    constant = convert_variables_to_constants_v2(concrete)
    verbosity = absl_logging.get_verbosity()
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([constant]).convert()
    finally:
        absl_logging.set_verbosity(verbosity)
    return content


class LiteRTModel:
    """A model that LiteRT runs on one thread, one image at a time.

    One image at a time is fastest on a CPU, and the result for an image does not depend on the others of a batch. To use
    more cores make one model for each thread (`OneForEachThread`): `invoke` releases Python's global interpreter lock.
    """

    def __init__(self, model: Path | bytes) -> None:
        """Load a .tflite file, or the content of one. Raises DataError if LiteRT cannot run it."""
        content = model if isinstance(model, bytes) else read_file(model, most=LARGEST_MODEL)
        try:
            self._interpreter = _interpreter(content)
        except (ValueError, RuntimeError) as error:
            name = "The converted model" if isinstance(model, bytes) else str(model)
            raise DataError(
                f"{name} is not a model that LiteRT can run ({str(error).splitlines()[0]}). If the pipeline wrote it, delete "
                "it: the next run writes it again."
            ) from None
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [details["index"] for details in self._interpreter.get_output_details()]

    @property
    def outputs(self) -> int:
        """Number of outputs of the model."""
        return len(self._outputs)

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the first output, float32, for one image, RGB uint8 (224, 224, 3)."""
        return self.run(image)[0]

    def run(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Return every output, float32, for one image, RGB uint8 (224, 224, 3)."""
        self._interpreter.set_tensor(self._input, image[np.newaxis].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]


def _interpreter(content: bytes) -> Any:
    """Return LiteRT's interpreter of a model. The first one of a process writes a note, which is not shown."""
    from ai_edge_litert.interpreter import Interpreter

    with nullcontext() if _noted.is_set() else quiet_tensorflow.notes_hidden():
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    _noted.set()
    return interpreter


_noted: Final = threading.Event()
"""Set once LiteRT has written its note."""


class OneForEachThread(Generic[Model]):
    """Holds one model for each thread, made when the thread first needs it."""

    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make
        self._of_thread = threading.local()

    def get(self) -> Model:
        """Return the model of this thread."""
        if not hasattr(self._of_thread, "model"):
            self._of_thread.model = self._make()
        model: Model = self._of_thread.model
        return model
