"""The classifier: backbone, pooling, Dense, Dropout, softmax(3); which of its layers are trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from skinlesion.backbone import BackboneWeights, build_backbone
from skinlesion.config import POOLED, PipelineConfig
from skinlesion.diagnosis import LABELS

if TYPE_CHECKING:
    import keras

HEAD_LAYERS: Final = ("head_dense", "head_dropout", "probabilities")


def build_classifier(config: PipelineConfig, weights: BackboneWeights) -> keras.Model:
    """Give the untrained classifier: RGB 0..255 float32 (n, 224, 224, 3) to probabilities (n, 3) in `LABELS`' order."""
    import keras

    keras.utils.set_random_seed(config.seed)
    backbone = build_backbone(weights)
    pooled = keras.layers.GlobalAveragePooling2D(name=POOLED)(backbone.output)
    hidden = keras.layers.Dense(config.dense_units, activation="relu", name="head_dense")(pooled)
    dropped = keras.layers.Dropout(config.dropout, seed=config.seed, name="head_dropout")(hidden)
    probabilities = keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(dropped)
    return keras.Model(backbone.input, probabilities, name="skin_lesion_classifier")


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
