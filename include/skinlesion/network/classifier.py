"""The classifier: backbone, pooling, and a head of Dense, Dropout and a softmax over three classes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.network.backbone import BackboneWeights, build_backbone
from skinlesion.network.model_file import load_checked, problems_of
from skinlesion.network.settings import POOLED, ModelSettings

if TYPE_CHECKING:
    import keras

_METADATA: Final = "metadata.json"
_DATE: Final = "1980-01-01@00:00:00"


def build_classifier(config: ModelSettings, weights: BackboneWeights) -> keras.Model:
    """Return the untrained classifier: from RGB 0..255 float32 (n, 224, 224, 3) to probabilities (n, 3) in `LABELS`' order."""
    import keras

    keras.utils.set_random_seed(config.seed)
    backbone = build_backbone(weights)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLED)(backbone.output)
    hidden = keras.layers.Dense(config.dense_units, activation="relu", name="head_dense")(pooled)
    dropped = keras.layers.Dropout(config.dropout, seed=config.seed, name="head_dropout")(hidden)
    probabilities = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(dropped)
    return keras.Model(backbone.inputs[0], probabilities, name="skin_lesion_classifier")


def load_classifier(path: Path) -> keras.Model:
    """Return a saved classifier, .h5 or .keras, not compiled. What the file may hold is bounded; see `model_file`.

    Raises DataError if the file is missing, or holds another kind of model or one beyond the bounds.
    """
    import keras

    if not path.is_file():
        raise DataError(f"{path} is missing: expected a trained classifier (.h5 or .keras).")
    with problems_of(path, "a classifier in Keras's format"):
        loaded = load_checked(path)
    expected = ((None, IMAGE_SIDE, IMAGE_SIDE, 3), (None, len(LABELS)))
    if (loaded.input_shape, loaded.output_shape) != expected:
        raise DataError(
            f"{path} maps {loaded.input_shape} to {loaded.output_shape}; expected {expected[0]} to {expected[1]}."
        )
    # A model from a .h5 file expects a list of one input; every classifier here takes a tensor.
    return keras.Model(loaded.inputs[0], loaded.outputs[0], name=loaded.name)


def bytes_of(model: keras.Model) -> int:
    """Return the largest size of a model's file, its optimizer's state included. HDF5 1.14 may crash on a full disk."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    return 1_000_000 + 5 * sum(int(np.prod(variable.shape)) for variable in variables)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model whole or not at all, in the format of the suffix. Equal models are equal bytes."""
    from absl import logging as absl_logging

    verbosity = absl_logging.get_verbosity()
    # At each save Keras warns that .h5 is a legacy format; users of the recipe expect it, and train writes .keras too.
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with atomic.replacing(path) as partial:
            atomic.require_room(path.parent, bytes_of(model))
            model.save(partial)
            if path.suffix == ".keras":
                _remove_dates(partial)
    finally:
        absl_logging.set_verbosity(verbosity)


def _remove_dates(path: Path) -> None:
    """Replace the times in a .keras file, a zip archive, by a fixed one: Keras writes when it saved the model."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    metadata = json.loads(members[_METADATA])
    members[_METADATA] = json.dumps(metadata | {"date_saved": _DATE}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # dated 1980-01-01


def frozen_part(model: keras.Model, cut: str) -> keras.Model:
    """Return the part of the model from the image to the layer `cut`. It shares its weights with the model."""
    import keras

    return keras.Model(model.input, model.get_layer(cut).output, name="frozen_part")


def set_trainable(model: keras.Model, *, from_layer: str | None) -> None:
    """Make the layers after `from_layer` trainable, or all layers if it is None, and freeze the others.

    BatchNormalization stays frozen everywhere. Its statistics were estimated on ImageNet, not on a batch of augmented
    lesions, and training=False in the call of a layer does not preserve them during `fit` in Keras 3 (keras-team/keras#20285).
    """
    import keras

    reached = from_layer is None
    for layer in model.layers:
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = reached and not is_batch_norm
        reached = reached or layer.name == from_layer


def seed_dropout(model: keras.Model, seed: Sequence[int]) -> None:
    """Seed the Dropout layers of the model, in place, so that an epoch can be repeated without the epochs before it."""
    import keras

    state = np.random.SeedSequence(seed).generate_state(2, dtype=np.uint32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(state)
