"""One network that averages over an image and its mirror image, which errs less than either (docs/experiments.md).

The mean is inside the network, so that each of its files gives it. It has two branches. The result is still a backbone, a Dense
layer, a Dropout layer and a softmax over three classes; the Dense layer is as wide as those of the branches together, and the
logits are the mean of theirs.

No layer mirrors the image: a convolution of the mirrored image is the mirror image of a convolution with the mirrored kernel,
and the mean over all places is the same for both. So the kernels and the paddings of the second branch are mirrored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import keras

_HIDDEN, _DROPOUT, _SOFTMAX = "head_dense", "head_dropout", "probabilities"
JOINED: Final = "heads"
"""Name of the layer that joins the outputs of the branches' Dense layers."""


def with_mirror_image(network: keras.Model, cut: str) -> keras.Model:
    """Return a classifier whose logits are the mean of those of a network for an image and for its mirror image.

    It shares the layers of the network but its last one.

    Args:
        network: the classifier of the image alone.
        cut: a layer of it. The names of the mirrored copies end in "_mirrored" up to this layer, and in "_branch_2" after it.
    """
    import keras

    image, first = network.inputs[0], network.layers[0].name
    below = _mirrored_copy(network, first, cut, image, "_mirrored")
    hidden = [network.get_layer(_HIDDEN).output, _mirrored_copy(network, cut, _HIDDEN, below, "_branch_2")]
    dropout, softmax = network.get_layer(_DROPOUT), network.get_layer(_SOFTMAX)
    # With a type of their own: Keras writes the address of a type that layers share into a .keras file.
    joined = keras.layers.Concatenate(name=JOINED, dtype=dropout.dtype)(hidden)
    dropped = type(dropout).from_config(dropout.get_config())(joined)
    last = type(softmax).from_config(softmax.get_config())
    model = keras.Model(image, last(dropped), name=network.name)
    kernel, bias = softmax.get_weights()
    last.set_weights([np.concatenate([kernel, kernel]) / 2, bias])
    return model


def take_first_branch(model: keras.Model, into: keras.Model) -> None:
    """Set the weights of a network, in place, to those with which a classifier answers for the image that is not mirrored.

    Args:
        model: a network, or what `with_mirror_image` made of one.
        into: a network as build writes it.
    """
    for layer in into.layers:
        weights = model.get_layer(layer.name).get_weights()
        if layer.name == _SOFTMAX:
            kernel, bias = weights
            width = layer.kernel.shape[0]
            weights = [kernel[:width] * np.float32(len(kernel) / width), bias]
        layer.set_weights(weights)


def _mirrored_copy(network: keras.Model, start: str, end: str, on: Any, suffix: str) -> Any:
    """Return the output of mirrored copies of the layers after `start` up to `end`, which take the tensor `on`."""
    copies = {id(network.get_layer(start).output): on}
    names = [layer.name for layer in network.layers]
    for layer in network.layers[names.index(start) + 1 : names.index(end) + 1]:
        several = isinstance(layer.input, list)
        inputs = [copies[id(one)] for one in layer.input] if several else copies[id(layer.input)]
        inputs, config = _mirrored_layer(layer, inputs, layer.get_config() | {"name": layer.name + suffix})
        copy = type(layer).from_config(config)
        copies[id(layer.output)] = copy(inputs)
        weights = layer.get_weights()
        if _is_convolution(layer):
            weights[0] = weights[0][:, ::-1]  # of the kernel, (height, width, ...), left becomes right
        copy.set_weights(weights)
    return copies[id(network.get_layer(end).output)]


def _mirrored_layer(layer: keras.layers.Layer, inputs: Any, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return inputs and configuration of a layer's mirrored copy, which pads on the other side where the sides differ.

    With a stride of two and "same", Keras pads an even width on the right alone.
    """
    import keras

    if isinstance(layer, keras.layers.ZeroPadding2D):
        rows, (left, right) = layer.padding
        return inputs, config | {"padding": (rows, (right, left))}
    if _is_convolution(layer) and layer.padding == "same" and layer.strides[1] > 1:
        (top, bottom), (left, right) = (
            _same_padding(size, kernel, stride)
            for size, kernel, stride in zip(layer.input.shape[1:3], layer.kernel_size, layer.strides, strict=True)
        )
        sides, name = ((top, bottom), (right, left)), f"{config['name']}_pad"
        padded = keras.layers.ZeroPadding2D(sides, name=name, dtype=layer.dtype)(inputs)
        return padded, config | {"padding": "valid"}
    return inputs, config


def _is_convolution(layer: keras.layers.Layer) -> bool:
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return what "same" adds before and behind, as TensorFlow defines it."""
    added = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return added // 2, added - added // 2
