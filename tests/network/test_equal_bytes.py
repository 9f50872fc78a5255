"""The same model is the same file, whatever its process did before; tests/end_to_end/test_killed_runs.py trains for it."""

from __future__ import annotations

import time
from pathlib import Path

import keras
import numpy as np
import pytest

from skinlesion.network.classifier import save_model
from skinlesion.network.feature_distance import LAYERS, FeatureDistance, with_distance
from skinlesion.network.litert import converted


def small_classifier() -> keras.Model:
    """Return a network with the layers of which distances are computed."""
    keras.utils.set_random_seed(1)
    image = seen = keras.Input((8, 8, 3), name="image")
    for name, channels in LAYERS.items():
        seen = keras.layers.Conv2D(channels, 1, name=name)(seen)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(seen)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax", name="probabilities")(pooled), name="small")


def files(folder: Path) -> dict[str, bytes]:
    """Return the content of each file of a model that is made here, by its name."""
    model = small_classifier()
    folder.mkdir()
    for name in ("model.h5", "model.keras"):
        save_model(model, folder / name)
    sizes = [2 * channels for channels in LAYERS.values()]
    distance = FeatureDistance(
        tuple(np.zeros(size, np.float32) for size in sizes), tuple(np.eye(size, dtype=np.float32) for size in sizes)
    )
    distance.write(folder / "distance.npz")
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return found | {"model.tflite": converted(with_distance(model, distance))}


def test_a_model_that_is_made_twice_has_equal_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lost before: the same training was another version with another SHA-256, and was evaluated again.
    first = files(tmp_path / "first")
    for _ in range(3):  # unnamed layers and models take their names from counters of the process
        image = keras.Input((4,))
        keras.Model(image, keras.ops.sqrt(keras.ops.mean(keras.layers.Dense(3)(image), keepdims=True)))
    later = time.time() + 90_000
    local_time = time.localtime
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(time, "localtime", lambda seconds=None: local_time(later if seconds is None else seconds))
    second = files(tmp_path / "second")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    keras.models.load_model(tmp_path / "second" / "model.keras")
