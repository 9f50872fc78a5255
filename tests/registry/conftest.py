from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.registry.house import House, held_out

from skinlesion import layout
from skinlesion.bucket_table import write_table
from skinlesion.candidate import Candidate
from skinlesion.config import PipelineConfig
from skinlesion.manifest import COLUMNS


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files of a model that really loads."""
    import keras

    from skinlesion.litert import convert_to_litert
    from skinlesion.model import save_model

    folder = tmp_path_factory.mktemp("small")
    pictures = keras.Input((224, 224, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pictures))
    model = keras.Model(pictures, keras.layers.Dense(3, activation="softmax", name="probabilities")(pooled))
    candidate = Candidate(folder)
    save_model(model, candidate.h5)
    save_model(model, candidate.keras)
    convert_to_litert(model, candidate.tflite)
    return folder


@pytest.fixture
def house(tmp_path: Path, small_model: Path) -> House:
    import simplejpeg

    rows = held_out()
    dataset = tmp_path / "dataset"
    for number in range(8):
        path = layout.output(dataset) / rows.loc[number, "file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(simplejpeg.encode_jpeg(np.full((224, 224, 3), 25 * number, dtype=np.uint8)))
        rows.loc[number, "sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_table(layout.manifest(dataset), rows, COLUMNS)
    config = PipelineConfig.of({"dataset": dataset, "models": tmp_path / "models"})
    return House(config, small_model, rows)


@pytest.fixture
def settings(house: House) -> Callable[..., PipelineConfig]:
    """Gives the house's settings with others over them."""
    return lambda **values: PipelineConfig.of({"dataset": house.config.dataset, "models": house.models} | values)
