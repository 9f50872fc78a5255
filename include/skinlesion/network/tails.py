"""One network that averages over several branches: over several tails, or over an image and its mirror image, or both.

A *tail* is what lies above the cut. Several that were trained apart err less in the mean than one of them, and so does one
tail that sees an image and its mirror image (docs/experiments.md). The mean is inside the network, so that each of its files
gives it. The result is still a backbone, a Dense layer, a Dropout layer and a softmax over three classes; the Dense
layer is as wide as those of the branches together, and the logits are the mean of theirs.

No layer mirrors the image: a convolution of the mirrored image is the mirror image of a convolution with the mirrored kernel,
and the mean over all places is the same for both. So the kernels and the paddings of every second branch are mirrored. Branches
that see the image alike share their frozen part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import keras

_HIDDEN, _DROPOUT, _SOFTMAX, _MIRRORED = "head_dense", "head_dropout", "probabilities", "_mirrored"
JOINED: Final = "heads"
"""Name of the layer that joins the outputs of the branches' Dense layers."""


def join_tails(tails: Sequence[keras.Model], cut: str, branches: int, mirrored: bool) -> keras.Model:
    """Return one classifier whose logits are the mean of those of several branches. Equal tails are equal bytes in a file.

    It shares the layers of the first network but its last one. The names of copied layers end in "_branch_2" and so on, in a
    second frozen part in "_mirrored".

    Args:
        tails: networks that agree up to the layer `cut`; the branches take turns of them.
        cut: the last layer of the frozen part.
        branches: how many there are.
        mirrored: whether every second branch sees the image mirrored.
    """
    import keras

    first = tails[0]
    if branches == 1:
        return first
    image, below = first.inputs[0], {False: first.get_layer(cut).output}
    networks = [tails[branch % len(tails)] for branch in range(branches)]
    hidden = [first.get_layer(_HIDDEN).output]
    for number, network in enumerate(networks[1:], start=2):
        mirror = _is_mirrored(number, mirrored)
        if mirror not in below:
            below[mirror] = _copy(network, network.layers[0].name, cut, image, _MIRRORED, mirror)
        hidden.append(_copy(network, cut, _HIDDEN, below[mirror], _suffix(number), mirror))
    dropout, softmax = first.get_layer(_DROPOUT), first.get_layer(_SOFTMAX)
    # With a type of their own: Keras writes the address of a type that layers share into a .keras file.
    joined = keras.layers.Concatenate(name=JOINED, dtype=dropout.dtype)(hidden)
    dropped = type(dropout).from_config(dropout.get_config())(joined)
    last = type(softmax).from_config(softmax.get_config())
    model = keras.Model(image, last(dropped), name=first.name)
    heads = [network.get_layer(_SOFTMAX).get_weights() for network in networks]
    kernel = np.concatenate([kernel for kernel, _ in heads]) / len(heads)
    last.set_weights([kernel, np.mean([bias for _, bias in heads], axis=0)])
    return model


def take_tail(joined: keras.Model, into: keras.Model, number: int, branches: int, mirrored: bool) -> None:
    """Set the weights of a network, in place, to those of one branch, so that its tail can be trained by itself.

    The mean of the logits of all branches that are taken so is that of the joined network.

    Args:
        joined: what `join_tails` returned.
        into: a network as build writes it.
        number: of the branch, from 1.
        branches: how many there are.
        mirrored: whether every second branch sees the image mirrored; `into` never does.
    """
    names = {layer.name for layer in joined.layers}
    for layer in into.layers:
        own = layer.name + _suffix(number)
        if layer.name == _SOFTMAX:
            kernel, bias = joined.get_layer(_SOFTMAX).get_weights()
            layer.set_weights([np.split(kernel, branches)[number - 1] * np.float32(branches), bias])
        elif layer.weights:
            found = joined.get_layer(own if own in names else layer.name).get_weights()
            is_own = own in names and _is_mirrored(number, mirrored)
            layer.set_weights(_mirrored_weights(layer, found) if is_own else found)


def _is_mirrored(number: int, mirrored: bool) -> bool:
    return mirrored and number % 2 == 0


def _suffix(number: int) -> str:
    return "" if number == 1 else f"_branch_{number}"


def _copy(network: keras.Model, start: str, end: str, on: Any, suffix: str, mirrored: bool) -> Any:
    """Return the output of copies of the layers after `start` up to `end`, which take the tensor `on`."""
    copies = {id(network.get_layer(start).output): on}
    names = [layer.name for layer in network.layers]
    for layer in network.layers[names.index(start) + 1 : names.index(end) + 1]:
        several = isinstance(layer.input, list)
        inputs = [copies[id(one)] for one in layer.input] if several else copies[id(layer.input)]
        config = layer.get_config() | {"name": layer.name + suffix}
        weights = layer.get_weights()
        if mirrored:
            inputs, config = _mirrored_layer(layer, inputs, config)
            weights = _mirrored_weights(layer, weights)
        copy = type(layer).from_config(config)
        copies[id(layer.output)] = copy(inputs)
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


def _mirrored_weights(layer: keras.layers.Layer, weights: list[Any]) -> list[Any]:
    """Return the weights with the kernel of a convolution, (height, width, ...), mirrored from left to right."""
    return [weights[0][:, ::-1], *weights[1:]] if _is_convolution(layer) else weights


def _is_convolution(layer: keras.layers.Layer) -> bool:
    import keras

    return isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return what "same" adds before and behind, as TensorFlow defines it."""
    added = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return added // 2, added - added // 2
