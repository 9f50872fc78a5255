"""Several tails in one network: the layers above the cut more than once, and one softmax over the mean of their logits.

The tails share the frozen part, so that an image passes it once. Each is trained by itself, as the mean of networks that were
trained apart errs less than one of them (docs/experiments.md). The result is still a backbone, a Dense layer, a Dropout layer
and a softmax over three classes; the Dense layer is as wide as those of the tails together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import keras

_HIDDEN, _DROPOUT, _SOFTMAX = "head_dense", "head_dropout", "probabilities"
JOINED: Final = "heads"
"""Name of the layer that joins the outputs of the tails' Dense layers."""


def join_tails(networks: Sequence[keras.Model], cut: str) -> keras.Model:
    """Return one classifier whose logits are the mean of those of several, which agree up to the layer `cut`.

    It shares the layers of the first network but its last one; those of the tails after it end in "_tail_2" and so on.
    """
    import keras

    first = networks[0]
    if len(networks) == 1:
        return first
    hidden = [first.get_layer(_HIDDEN).output]
    for number, network in enumerate(networks[1:], start=2):
        hidden.append(_copy_tail(network, cut, number, on=first.get_layer(cut).output))
    dropout, softmax = first.get_layer(_DROPOUT), first.get_layer(_SOFTMAX)
    joined = keras.layers.Concatenate(name=JOINED)(hidden)
    dropped = type(dropout).from_config(dropout.get_config())(joined)
    last = type(softmax).from_config(softmax.get_config())
    model = keras.Model(first.inputs[0], last(dropped), name=first.name)
    heads = [network.get_layer(_SOFTMAX).get_weights() for network in networks]
    kernel = np.concatenate([kernel for kernel, _ in heads]) / len(heads)
    last.set_weights([kernel, np.mean([bias for _, bias in heads], axis=0)])
    return model


def take_tail(joined: keras.Model, into: keras.Model, number: int, tails: int) -> None:
    """Set the weights of a network, in place, to those of one tail of several, so that it can be trained by itself.

    The mean of the logits of all tails that are taken so is that of the joined network.

    Args:
        joined: what `join_tails` returned for this number of tails.
        into: a network as build writes it.
        number: of the tail, from 1.
        tails: how many there are.
    """
    if tails == 1:
        into.set_weights(joined.get_weights())
        return
    names = {layer.name for layer in joined.layers}
    for layer in into.layers:
        own = _name(layer.name, number)
        if layer.name == _SOFTMAX:
            kernel, bias = joined.get_layer(_SOFTMAX).get_weights()
            layer.set_weights([np.split(kernel, tails)[number - 1] * np.float32(tails), bias])
        elif layer.weights:
            layer.set_weights(joined.get_layer(own if own in names else layer.name).get_weights())


def _copy_tail(network: keras.Model, cut: str, number: int, on: Any) -> Any:
    """Return the output of copies of the layers from the cut to the Dense layer, which take the tensor `on`."""
    copies = {id(network.get_layer(cut).output): on}
    names = [layer.name for layer in network.layers]
    for layer in network.layers[names.index(cut) + 1 : names.index(_HIDDEN) + 1]:
        copy = type(layer).from_config(layer.get_config() | {"name": _name(layer.name, number)})
        several = isinstance(layer.input, list)
        copied = copy([copies[id(one)] for one in layer.input] if several else copies[id(layer.input)])
        copies[id(layer.output)] = copied
        copy.set_weights(layer.get_weights())
    return copies[id(network.get_layer(_HIDDEN).output)]


def _name(layer: str, tail: int) -> str:
    """Return the name of a layer in a tail; that of the first one is its own."""
    return layer if tail == 1 else f"{layer}_tail_{tail}"
