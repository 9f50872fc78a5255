"""Models as LiteRT (XNNPACK) runs them on a CPU."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError

if TYPE_CHECKING:
    import keras

Model = TypeVar("Model")


def convert_to_litert(model: keras.Model, path: Path) -> None:
    """Write a model as LiteRT runs it; see `converted`."""
    atomic.write_bytes(path, converted(model))


def converted(model: keras.Model) -> bytes:
    """Give the content of a .tflite file of a model: float32, a batch of one, the outputs in the model's order.

    `model.export(format="litert")`, and the converter when it is given the model, give the same outputs but go through a
    SavedModel, which takes five times as long; the warning that recommends it is kept from the user.
    """
    import tensorflow as tf
    from absl import logging as absl_logging
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    shape = (1, *model.inputs[0].shape[1:])
    function = tf.function(lambda batch: model(batch, training=False), autograph=False)
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
    """A model run by LiteRT (XNNPACK) on one thread, one image a call.

    One image a call is the fastest on a CPU, and it makes an image's result independent of what else is in a batch. To
    use more cores make one for each thread: `invoke` releases the interpreter's lock.
    """

    def __init__(self, model: Path | bytes) -> None:
        """Load a .tflite file, or what one would hold. Raises DataError when LiteRT cannot run it."""
        from ai_edge_litert.interpreter import Interpreter

        content = model if isinstance(model, bytes) else model.read_bytes()
        try:
            self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            name = "The converted model" if isinstance(model, bytes) else str(model)
            raise DataError(
                f"{name} is no model that LiteRT can run ({str(error).splitlines()[0]}). If the pipeline wrote it, delete "
                "it: the next run writes it again."
            ) from None
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [details["index"] for details in self._interpreter.get_output_details()]

    @property
    def outputs(self) -> int:
        """How many outputs the model has."""
        return len(self._outputs)

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Give the first output, float32, for one image, RGB uint8 (224, 224, 3)."""
        return self.run(image)[0]

    def run(self, image: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Give every output, float32, for one image, RGB uint8 (224, 224, 3)."""
        self._interpreter.set_tensor(self._input, image[np.newaxis].astype(np.float32))
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(output)[0] for output in self._outputs]


class OneForEachThread(Generic[Model]):
    """Gives each thread a model of its own, made when the thread first asks."""

    def __init__(self, make: Callable[[], Model]) -> None:
        self._make = make
        self._of_thread = threading.local()

    def get(self) -> Model:
        """Give this thread's model."""
        if not hasattr(self._of_thread, "model"):
            self._of_thread.model = self._make()
        model: Model = self._of_thread.model
        return model
