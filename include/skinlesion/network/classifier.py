"""The classifier: backbone, pooling, Dense, Dropout, softmax(3); which of its layers are trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.network.backbone import BackboneWeights, build_backbone
from skinlesion.network.settings import POOLED, ModelSettings

if TYPE_CHECKING:
    import keras

HEAD_LAYERS: Final = ("head_dense", "head_dropout", "probabilities")


def build_classifier(config: ModelSettings, weights: BackboneWeights) -> keras.Model:
    """Give the untrained classifier: RGB 0..255 float32 (n, 224, 224, 3) to probabilities (n, 3) in `LABELS`' order."""
    import keras

    keras.utils.set_random_seed(config.seed)
    backbone = build_backbone(weights)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLED)(backbone.output)
    hidden = keras.layers.Dense(config.dense_units, activation="relu", name="head_dense")(pooled)
    dropped = keras.layers.Dropout(config.dropout, seed=config.seed, name="head_dropout")(hidden)
    probabilities = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(dropped)
    return keras.Model(backbone.inputs[0], probabilities, name="skin_lesion_classifier")


def load_classifier(path: Path) -> keras.Model:
    """Load a saved classifier, .h5 or .keras, for inference; code in the file (a Lambda layer) is not run.

    Raises DataError when the file is missing or is no such model.
    """
    import keras

    if not path.is_file():
        raise DataError(f"{path} is missing: expected a trained classifier (.h5 or .keras).")
    try:
        loaded = keras.models.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be loaded as a Keras model: {error}") from None
    expected = ((None, IMAGE_SIDE, IMAGE_SIDE, 3), (None, len(LABELS)))
    if (loaded.input_shape, loaded.output_shape) != expected:
        raise DataError(
            f"{path} maps {loaded.input_shape} to {loaded.output_shape}; expected {expected[0]} to {expected[1]}."
        )
    # A loaded .h5 wants its input as a list of one; here every classifier takes a tensor.
    return keras.Model(loaded.inputs[0], loaded.outputs[0], name=loaded.name)


def save_model(model: keras.Model, path: Path) -> None:
    """Write a model whole or not at all, in the format that the suffix says."""
    from absl import logging as absl_logging

    verbosity = absl_logging.get_verbosity()
    # Keras calls .h5 legacy at each save; the recipe's users ask for it, and .keras lies beside it.
    absl_logging.set_verbosity(absl_logging.ERROR)
    try:
        with atomic.replacing(path) as partial:
            model.save(partial)
    finally:
        absl_logging.set_verbosity(verbosity)


def frozen_part(model: keras.Model, cut: str) -> keras.Model:
    """Give the part from the image to the cut layer; it shares its weights with the model."""
    import keras

    return keras.Model(model.input, model.get_layer(cut).output, name="frozen_part")


def trained_part(model: keras.Model, cut: str) -> keras.Model:
    """Give the part from the cut layer's activations to the probabilities; it shares its weights with the model."""
    import keras

    return keras.Model(model.get_layer(cut).output, model.output, name="trained_part")


def set_trainable(model: keras.Model, *, from_layer: str | None) -> None:
    """Make the layers after `from_layer` trainable, or every layer for None, and freeze the rest.

    BatchNormalization stays frozen everywhere: calling a model with training=False does not keep its statistics during
    `fit` in Keras 3 (keras#20285), and a batch of augmented lesions is not what they were estimated on.
    """
    import keras

    reached = from_layer is None
    for layer in model.layers:
        is_batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        layer.trainable = reached and not is_batch_norm
        reached = reached or layer.name == from_layer


def seed_dropout(model: keras.Model, seed: Sequence[int]) -> None:
    """Set what the model's Dropout layers draw next, so that an epoch can be repeated without those before it."""
    import keras

    state = np.random.SeedSequence(seed).generate_state(2, dtype=np.uint32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign(state)
