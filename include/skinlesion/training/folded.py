"""Train convolutions with their frozen BatchNormalization folded in: the same function, better conditioned and faster.

A frozen BatchNormalization after a convolution multiplies each output channel by s = gamma / sqrt(variance + epsilon) and
shifts it. In MobileNetV2 s ranges from 0.1 to 75 between the channels of one layer, so one step of an optimizer on the kernel
W moves some channels hundreds of times as far as others: fine-tuning above block_12 first destroys what the backbone learnt
on ImageNet (docs/experiments.md has the figures). Therefore the folded kernel W' = W s is trained (Jacob et al. 2018,
arXiv:1712.05877, eq. 14), whose magnitude no longer depends on s, and afterwards W = W' / s. gamma, beta and the statistics
do not change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import keras
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST_SCALE: Final = 1e-6
"""BatchNormalization switches a channel with a smaller |s| off; the kernel of that channel does not change."""


class _Fold(NamedTuple):
    """A convolution of the part, the convolution with the folded kernel, and s in a shape that multiplies the kernel."""

    original: keras.layers.Layer
    folded: keras.layers.Layer
    scale: npt.NDArray[np.float32]


class _Shift(keras.layers.Layer):
    """Adds a constant to each channel: the rest of a BatchNormalization whose scale is folded."""

    def __init__(self, shift: npt.NDArray[np.float32], name: str) -> None:
        super().__init__(name=name, trainable=False)
        self.shift = shift

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:
        """Return the shifted channels. The other arguments are those with which a BatchNormalization is called."""
        return inputs + self.shift


class FoldedPart:
    """A part of the classifier in which every convolution before a frozen BatchNormalization is folded.

    `model` computes the same function as the part. It shares the layers that are not folded (the head) with the part. The
    trained kernels of the folded convolutions reach the part by `unfold`.
    """

    def __init__(self, part: keras.Model) -> None:
        norms = {conv.name: norm for norm, conv in _pairs(part)}
        shifts = {norm.name: _scale_and_shift(norm)[1] for norm in norms.values()}

        def replacement(layer: keras.layers.Layer) -> keras.layers.Layer:
            if layer.name in shifts:
                return _Shift(shifts[layer.name], name=layer.name)
            if layer.name in norms or isinstance(layer, keras.layers.InputLayer):
                return type(layer).from_config(layer.get_config())
            return layer

        self.model: keras.Model = keras.models.clone_model(part, clone_function=replacement)
        self._folds = []
        for name, norm in norms.items():
            original, folded = part.get_layer(name), self.model.get_layer(name)
            scale = _scale_and_shift(norm)[0]
            if isinstance(original, keras.layers.DepthwiseConv2D):
                scale = scale[:, np.newaxis]  # its kernel is (h, w, channels, 1), that of a Conv2D (h, w, in, channels)
            folded.trainable = original.trainable
            folded.set_weights([original.get_weights()[0] * scale])
            self._folds.append(_Fold(original, folded, scale))

    def unfold(self) -> None:
        """Set the kernels of the part's convolutions, in place, to what was trained."""
        for original, folded, scale in self._folds:
            kernel, trained = original.get_weights()[0], folded.get_weights()[0]
            is_on = np.abs(scale) > SMALLEST_SCALE
            divided = np.divide(trained, scale, out=np.zeros_like(trained), where=is_on)
            original.set_weights([np.where(is_on, divided, kernel)])


def _pairs(part: keras.Model) -> Sequence[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Return each frozen BatchNormalization of the part with the trainable convolution before it."""
    pairs = []
    for layer in part.layers:
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable:
            source = layer.input._keras_history.operation
            is_convolution = isinstance(source, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
            if is_convolution and source.trainable and not source.use_bias and source in part.layers:
                pairs.append((layer, source))
    return pairs


def _scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return what a frozen BatchNormalization multiplies each channel by, and what it then adds."""
    gamma, beta, mean, variance = (np.asarray(weight, dtype=np.float64) for weight in norm.get_weights())
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
