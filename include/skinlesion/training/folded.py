"""Train convolutions with their frozen BatchNormalization folded in: the same function, better conditioned and faster.

A frozen BatchNormalization behind a convolution multiplies each output channel by s = gamma / sqrt(variance + epsilon)
and shifts it. In MobileNetV2 s runs from 0.1 to 75 between the channels of one layer, so one step of an optimizer on the
kernel W moves some channels hundreds of times as far as others: fine-tuning above block_12 first destroys what ImageNet
taught (docs/experiments.md has the figures). Trained is the folded kernel W' = W s (Jacob et al. 2018, arXiv:1712.05877,
eq. 14), whose size no longer depends on s; afterwards W = W' / s. gamma, beta and the statistics stay as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_SCALE: Final = 1e-6
"""A channel with a smaller |s| is switched off by its BatchNormalization; its kernel stays as it was."""


@dataclass(frozen=True)
class _Fold:
    """A convolution of the model, its stand-in with the folded kernel, and s shaped to multiply the kernel."""

    original: keras.layers.Layer
    stand_in: keras.layers.Layer
    scale: npt.NDArray[np.float32]


class _Shift(keras.layers.Layer):
    """What is left of a BatchNormalization whose scale is folded: adds a constant to each channel."""

    def __init__(self, shift: npt.NDArray[np.float32], name: str) -> None:
        super().__init__(name=name, trainable=False)
        self.shift = shift

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        """Give the shifted channels; mask and training are what a BatchNormalization is called with."""
        return inputs + self.shift


class FoldedPart:
    """A part of the classifier with every convolution that a frozen BatchNormalization follows folded.

    `model` maps the part's input to its outputs, as the part does. Layers that are not folded (the head) are the
    part's own; those of the convolutions become the part's by `unfold`.
    """

    def __init__(self, part: keras.Model) -> None:
        folded = {conv.name: norm for norm, conv in _pairs(part)}
        shifts = {norm.name: _scale_and_shift(norm)[1] for norm in folded.values()}

        def stand_in(layer: keras.layers.Layer) -> keras.layers.Layer:
            if layer.name in shifts:
                return _Shift(shifts[layer.name], name=layer.name)
            if layer.name in folded or isinstance(layer, keras.layers.InputLayer):
                return type(layer).from_config(layer.get_config())
            return layer

        self.model: keras.Model = keras.models.clone_model(part, clone_function=stand_in)
        self._folds = []
        for name, norm in folded.items():
            original, copy = part.get_layer(name), self.model.get_layer(name)
            scale = _scale_and_shift(norm)[0]
            if isinstance(original, keras.layers.DepthwiseConv2D):
                scale = scale[:, np.newaxis]  # its kernel is (h, w, channels, 1), the others' (h, w, in, channels)
            copy.trainable = original.trainable
            copy.set_weights([original.get_weights()[0] * scale])
            self._folds.append(_Fold(original, copy, scale))

    def unfold(self) -> None:
        """Give the convolutions of the part what was trained."""
        for fold in self._folds:
            kernel, trained = fold.original.get_weights()[0], fold.stand_in.get_weights()[0]
            alive = np.abs(fold.scale) > SMALLEST_SCALE
            divided = np.divide(trained, fold.scale, out=np.zeros_like(trained), where=alive)
            fold.original.set_weights([np.where(alive, divided, kernel)])


def _pairs(part: keras.Model) -> Sequence[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Give each frozen BatchNormalization of the part with the trainable convolution whose only reader it is."""
    pairs = []
    for layer in part.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable:
            source = layer.input._keras_history.operation
            is_convolution = isinstance(source, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            if is_convolution and source.trainable and not source.use_bias and source in part.layers:
                pairs.append((layer, source))
    return pairs


def _scale_and_shift(
    norm: keras.layers.BatchNormalization,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    gamma, beta, mean, variance = (np.asarray(weight, dtype=np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
