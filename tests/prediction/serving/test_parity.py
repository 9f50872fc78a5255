"""One preprocessing and one model: whoever asks, in whatever way, is told the same probabilities."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion.data.images.file import decode, encode_jpeg, read_header, to_model_size
from skinlesion.network import quiet_tensorflow
from skinlesion.network.classifier import load_classifier
from skinlesion.prediction.classifier import classifier_of, pixels_for_model, predict
from skinlesion.registry import model_files
from skinlesion.stages.resize import resize
from skinlesion.stages.settings import PipelineConfig

IMAGES = 50
SIZES = ((600, 450), (200, 150), (1024, 1024), (450, 600), (224, 224))
LABELS = ("benign", "malignant", "unknown")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, drawn: Callable[..., bytes]) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        (folder / f"image{number:02d}.jpg").write_bytes(drawn(number, SIZES[number % len(SIZES)]))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def by_litert(two_classifiers: Path, files: list[Path]) -> np.ndarray:
    return by_file(two_classifiers / "a" / model_files.TFLITE, files)


def by_file(model: Path, files: list[Path]) -> np.ndarray:
    found = predict(files, classifier_of(model), PipelineConfig.of({"workers": 2}))
    return np.array([prediction.probabilities for prediction in found])


@pytest.mark.parametrize("name", [model_files.H5, "model.keras"])
def test_every_format_gives_the_same_probabilities(
    name: str, two_classifiers: Path, files: list[Path], by_litert: np.ndarray
) -> None:
    assert np.abs(by_file(two_classifiers / "a" / name, files) - by_litert).max() < 1e-4


@pytest.mark.parametrize("name", [model_files.H5, "model.keras"])
def test_keras_itself_gives_the_same_probabilities(
    name: str, two_classifiers: Path, files: list[Path], by_litert: np.ndarray
) -> None:
    quiet_tensorflow.load()
    classifier = load_classifier(two_classifiers / "a" / name)
    pixels = np.stack([pixels_for_model(file.read_bytes(), max_pixels=10**8, min_side=32) for file in files])
    assert np.abs(classifier(pixels.astype(np.float32), training=False).numpy() - by_litert).max() < 1e-4


def test_the_api_gives_the_same_probabilities(shared: Any, files: list[Path], by_litert: np.ndarray) -> None:
    answer = shared.predict(*(file.read_bytes() for file in files)).json()
    found = [[said["probabilities"][label] for label in LABELS] for said in answer["predictions"]]
    assert np.abs(np.array(found) - by_litert).max() < 1e-4


def test_the_command_gives_the_same_probabilities(
    two_classifiers: Path, files: list[Path], by_litert: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from skinlesion.command_line.main import app

    table = tmp_path / "predictions.csv"
    model = two_classifiers / "a" / model_files.TFLITE
    ended = CliRunner().invoke(app, ["predict", "--model", str(model), "--output", str(table), str(files[0].parent)])
    assert ended.exit_code == 0, ended.output
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == [file.stem for file in files]
    assert np.abs(np.array([[float(row[label]) for label in LABELS] for row in rows]) - by_litert).max() < 1e-4


def test_the_model_sees_what_the_resize_stage_writes(files: list[Path], tmp_path: Path) -> None:
    config = PipelineConfig.of({})
    for file in files:
        content = file.read_bytes()
        header = read_header(content)
        written = to_model_size(decode(content, header), header)
        seen = pixels_for_model(content, max_pixels=config.max_image_pixels, min_side=config.min_image_side)
        assert np.array_equal(seen, written)
        assert encode_jpeg(seen, config.jpeg_quality) == encode_jpeg(written, config.jpeg_quality)
    assert resize.__globals__["to_model_size"] is to_model_size, "the stage's own function"
    assert resize.__globals__["decode"] is decode
