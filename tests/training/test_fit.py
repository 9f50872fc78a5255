"""An epoch takes each batch in turn, as Keras's own loop does."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from skinlesion.training.fit import train_epoch

INPUTS = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
TARGETS = INPUTS.sum(axis=1, keepdims=True)
WEIGHTS = np.linspace(0.5, 1.5, 10, dtype=np.float32)


class ThreeBatches:
    """Batches of four, four and two rows."""

    def start_epoch(self, epoch: int) -> None:
        pass

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        batch = slice(4 * index, 4 * index + 4)
        return INPUTS[batch], TARGETS[batch], WEIGHTS[batch]


class Unreadable(ThreeBatches):
    def __getitem__(self, index: int) -> Any:
        if index == 1:
            raise OSError("the second batch cannot be read")
        return super().__getitem__(index)


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "relu"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.1), loss="mse")
    return model


def test_the_weights_and_the_loss_are_those_of_keras_own_loop() -> None:
    ours, theirs = network(), network()
    losses = [train_epoch(ours, ThreeBatches())["loss"] for _ in range(2)]
    fitted = theirs.fit(INPUTS, TARGETS, batch_size=4, epochs=2, shuffle=False, verbose=0, sample_weight=WEIGHTS)
    assert losses == pytest.approx(fitted.history["loss"], rel=1e-6)
    for our_weight, their_weight in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(our_weight, their_weight, rtol=1e-6)


def test_a_batch_that_cannot_be_read_ends_the_epoch_with_its_reason() -> None:
    with pytest.raises(OSError, match="second batch"):
        train_epoch(network(), Unreadable())
