"""A training that was interrupted ends as one that was not, on a network of one layer."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from skinlesion.training.resumable import ResumableTraining, TrainingState

EPOCHS = 4
INPUTS = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
TARGETS = INPUTS.sum(axis=1, keepdims=True)


def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.AdamW(0.1, use_ema=True), loss="mse", run_eagerly=True)
    return model


def measure(model: keras.Model) -> dict[str, float]:
    return {"val_loss": float(np.mean((model.predict_on_batch(INPUTS) - TARGETS) ** 2))}


def fit(folder: Path, *, interrupted_after: int = EPOCHS) -> ResumableTraining:
    model = network()
    training = ResumableTraining(folder, model, measure, patience=10, epochs=EPOCHS, phase="test")
    training.begin()
    while not training.state.finished:
        if training.state.epoch >= interrupted_after:
            raise KeyboardInterrupt
        training.end_epoch(model.train_on_batch(INPUTS, TARGETS, return_dict=True))
    return training


def best(training: ResumableTraining) -> list[np.ndarray]:
    training.load_best()
    return [np.asarray(weight) for weight in training.model.weights]


def test_an_interrupted_training_goes_on_to_the_same_weights_and_history(tmp_path: Path) -> None:
    expected = fit(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "disturbed", interrupted_after=2)
    resumed = fit(tmp_path / "disturbed")
    assert (resumed.state.history, resumed.state.before) == (expected.state.history, expected.state.before)
    assert (resumed.state.epoch, resumed.state.finished) == (EPOCHS, True)
    for now, then in zip(best(resumed), best(expected), strict=True):
        assert np.array_equal(now, then)
    assert len(list((tmp_path / "disturbed").glob("epoch-*"))) == 1, "only the last epoch's weights are left"


def test_a_finished_training_says_so_when_it_is_read_again(tmp_path: Path) -> None:
    fit(tmp_path)
    assert ResumableTraining(tmp_path, network(), measure, patience=10, epochs=EPOCHS, phase="test").state.finished


def test_a_diverged_training_can_be_read_again(tmp_path: Path) -> None:
    state = TrainingState(history=({"loss": float("nan"), "val_loss": float("inf")},), before=[0.5, float("inf")])
    state.write(tmp_path / "state.json")
    found = TrainingState.read(tmp_path / "state.json")
    assert np.isnan(found.history[0]["loss"])
    assert (found.history[0]["val_loss"], found.before, found.epoch) == (float("inf"), [0.5, float("inf")], 1)


@pytest.mark.parametrize("name", ["state.json", "best.npz", "epoch-2.weights.h5"])
@pytest.mark.parametrize("damage", ["half", "other bytes", "gone"])
def test_a_damaged_file_costs_the_part_that_it_was_of_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, damage: str
) -> None:
    """Every night ended in an error of Keras's or NumPy's until somebody removed the folder."""
    expected = fit(tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "disturbed", interrupted_after=2)
    path = tmp_path / "disturbed" / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[: len(content) // 2] if damage == "half" else content[:-9] + b"{" * 9)
    resumed = fit(tmp_path / "disturbed")
    assert (resumed.state.history, resumed.state.before) == (expected.state.history, expected.state.before)
    for now, then in zip(best(resumed), best(expected), strict=True):
        assert np.array_equal(now, then)
    if (name, damage) != ("state.json", "gone"):
        assert "begins anew" in caplog.text
