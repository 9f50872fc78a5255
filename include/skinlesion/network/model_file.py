"""What a Keras file from outside may hold, checked before Keras builds or reads anything that the file asks for.

A file of a few kilobytes can ask for a layer of two thousand million units, for an array that lies in another file, or for
code. Another process reads it first, within bounds of time and memory (`model_file_process`). Its configuration may name only
the layers of `LAYERS`, and the model is built without its weights, so that their size is known before memory is taken for them.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skinlesion.foundation.errors import DataError
from skinlesion.network import model_file_process
from skinlesion.network.model_file_process import MOST_OBJECTS, Examined, Refused, require_size

if TYPE_CHECKING:
    import keras

_SECONDS: Final = 120
"""For a process that has `model_file_process.SECONDS` of processor time, on a busy machine."""

MOST_ACTIVATIONS: Final = 2**27
"""Numbers that the layers give for one image; those of a classifier give 20 million."""

MOST_OPERATIONS: Final = 10**11
"""Multiplications for one image; a classifier makes 300 million."""

MODELS: Final = frozenset({"Functional", "Sequential"})
LAYERS: Final = frozenset(
    {
        "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Dense",
        "DepthwiseConv2D", "Dropout", "ELU", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer",
        "LayerNormalization", "LeakyReLU", "MaxPooling2D", "Maximum", "Multiply", "PReLU", "ReLU", "Rescaling", "Reshape",
        "SeparableConv2D", "Softmax", "SpatialDropout2D", "ZeroPadding2D",
    }
)  # fmt: skip
"""The layers that classifiers of images consist of. None of them runs code of the file or reads another file."""

_OTHER_MODULES: Final = ("keras.initializers", "keras.regularizers", "keras.constraints", "keras")
_OTHERS: Final = frozenset({"DTypePolicy", "__keras_tensor__", "__tuple__", "__slice__", "Policy"})


@contextmanager
def problems_of(path: Path, expected: str) -> Iterator[None]:
    """Raise DataError, which names the file, for whatever goes wrong while a file from outside is read.

    Keras, h5py and zipfile raise some dozen kinds of errors for damaged files; Keras's messages quote whole configurations.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        why = first if len(first) <= 200 else first[:200] + "..."
        kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
        raise DataError(f"{path} does not hold {expected}: {kind}{why}") from None


def require_small(path: Path) -> None:
    """Raise if a file has more than `LARGEST` bytes. Call it within `problems_of`."""
    require_size(path.stat().st_size, "it has")


def require_readable_weights(path: Path) -> None:
    """Raise unless a .h5 file holds arrays within the bounds, in the file itself. Call it within `problems_of`."""
    require_small(path)
    _examine(path)


def load_checked(path: Path) -> keras.Model:
    """Return the model in a .h5 or .keras file, not compiled, within the bounds. Call it within `problems_of`."""
    import keras
    from keras.src.backend.common import global_state
    from keras.src.legacy.saving.saving_utils import model_from_config

    require_small(path)
    text = _examine(path)
    if text is None:
        raise Refused("it has no configuration of a model, as a file of weights alone has none.")
    config = json.loads(text)
    _check_config(config)
    try:
        with keras.StatelessScope(initialize_variables=False):
            is_h5 = path.suffix != ".keras"
            model = model_from_config(config) if is_h5 else keras.saving.deserialize_keras_object(config)
        _check_model(model)
    except BaseException:
        # What has no value yet would get one at the end of the next scope.
        global_state.set_global_attribute("uninitialized_variables", [])
        raise
    with keras.StatelessScope():  # gives the variables their first values at its end
        pass
    model.load_weights(path)
    return model


def _examine(path: Path) -> str | None:
    """Return the configuration in a file after another process has read all of it within its bounds."""
    command = [sys.executable, "-m", model_file_process.__name__, str(path)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # each thread would reserve memory
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise Refused(f"reading it takes longer than {_SECONDS} seconds.") from None
    if done.returncode != 0:
        raise Refused(f"the process that read it ended with status {done.returncode}; the file is damaged.")
    found = Examined.model_validate_json(done.stdout)
    if found.refused:
        raise Refused(found.refused)
    return found.config


def _check_config(config: Any) -> None:
    """Raise unless a configuration is one model of the layers that are known, within the bounds."""
    if not isinstance(config, dict) or config.get("class_name") not in MODELS:
        raise Refused(f"its configuration is not that of a {' or '.join(sorted(MODELS))} model.")
    pending: list[Any] = [config.get("config")]
    objects = 0
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
            objects += 1
            if objects > MOST_OBJECTS:
                raise Refused(f"its configuration has more than {MOST_OBJECTS:,} objects.")
            if "class_name" in value:
                _check_class(value)


def _check_class(value: dict[str, Any]) -> None:
    import keras

    name, module = value["class_name"], value.get("module")
    if not isinstance(name, str):
        raise Refused(f"{str(name)[:80]!r} is not the name of a class.")
    is_layer = name in LAYERS and module in (None, "keras.layers")
    is_other = name in _OTHERS or (
        module in (None, *_OTHER_MODULES)
        and any(hasattr(room, name) for room in (keras.initializers, keras.regularizers, keras.constraints))
    )
    if not is_layer and not is_other:
        where = f" of {str(module)[:80]}" if module else ""
        raise Refused(
            f"it has a {name[:80]}{where}; expected the layers of a classifier of images: {', '.join(sorted(LAYERS))}."
        )


def _check_model(model: keras.Model) -> None:
    """Raise if a model that was built without weights takes more memory or work than the bounds allow."""
    require_size(sum(4 * math.prod(variable.shape) for variable in model.variables), "its weights would have")
    activations = operations = 0
    for layer in model.layers:
        shape = tuple(layer.output.shape)
        if any(side is None for side in shape[1:]):
            raise Refused(f"the layer {layer.name} gives values of the shape {shape}; expected a known size.")
        numbers = math.prod(shape[1:])
        activations += numbers
        weights = sum(math.prod(variable.shape) for variable in layer.variables)
        operations += weights * math.prod(shape[1:-1]) + numbers * math.prod(getattr(layer, "pool_size", ()))
        if activations > MOST_ACTIVATIONS or operations > MOST_OPERATIONS:
            raise Refused(
                f"up to the layer {layer.name} an image takes {activations:,} numbers and {operations:,} multiplications; at "
                f"most {MOST_ACTIVATIONS:,} and {MOST_OPERATIONS:,} are allowed."
            )
