"""One preprocessing and one model: whoever asks, in whatever way, is told the same probabilities."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from tests.data.images.dicoms import coded_as, dicom_of
from tests.data.images.pictures import drawn as picture
from tests.data.images.profiles import DISPLAY_P3
from tests.prediction.real_server import Served, drawn
from tests.two_classifiers import RULE

from skinlesion.data.images.file import decode, encode_jpeg, read_header, to_model_size
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.errors import DataError
from skinlesion.network import quiet_tensorflow
from skinlesion.prediction.classifier import classifier_of, pixels_for_model, predict
from skinlesion.registry import model_files
from skinlesion.stages.resize import resize
from skinlesion.stages.settings import PipelineConfig

SIZES = ((600, 450), (200, 150), (1024, 1024), (450, 600), (224, 224))
SLOW = pytest.mark.slow

Rows = npt.NDArray[np.floating]


@pytest.fixture(scope="module", params=[10, pytest.param(50, marks=SLOW)])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for number in range(request.param):
        (folder / f"image{number:02d}.jpg").write_bytes(drawn(number, SIZES[number % len(SIZES)]))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def by_litert(two_classifiers: Path, files: list[Path]) -> Rows:
    classifier = classifier_of(two_classifiers / "a" / model_files.TFLITE)
    found = predict(files, classifier, PipelineConfig.of({"workers": 2}))
    return np.array([prediction.answer.probabilities for prediction in found if prediction.answer is not None])


def assert_same(found: Rows, expected: Rows) -> None:
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("name", [model_files.H5, pytest.param("model.keras", marks=SLOW)])
def test_keras_itself_gives_the_same_probabilities(
    name: str, two_classifiers: Path, files: list[Path], by_litert: Rows
) -> None:
    quiet_tensorflow.load()
    from skinlesion.network.classifier import load_classifier

    classifier = load_classifier(two_classifiers / "a" / name)
    pixels = np.stack([pixels_for_model(file.read_bytes(), max_pixels=10**8, min_side=32) for file in files])
    assert_same(classifier(pixels.astype(np.float32), training=False).numpy(), by_litert)


def test_the_api_gives_the_same_probabilities(shared: Served, files: list[Path], by_litert: Rows) -> None:
    answer = shared.predict(*(file.read_bytes() for file in files)).json()
    assert_same(
        pd.DataFrame([said["probabilities"] for said in answer["predictions"]])[[*LABELS]].to_numpy(), by_litert
    )


@pytest.mark.parametrize("name", [model_files.TFLITE, model_files.H5, "model.keras"])
def test_the_command_gives_the_same_probabilities_with_a_file_of_any_format(
    name: str,
    two_classifiers: Path,
    files: list[Path],
    by_litert: Rows,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from skinlesion.command_line.main import app

    model, table = two_classifiers / "a" / name, tmp_path / "predictions.csv"
    app(["predict", "--model", str(model), "--output", str(table), str(files[0].parent)], standalone_mode=False)
    found = pd.read_csv(table)
    assert found["image"].tolist() == [file.stem for file in files]
    assert_same(found[[*LABELS]].to_numpy(), by_litert)


def test_the_model_sees_what_the_resize_stage_writes(files: list[Path]) -> None:
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


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_keras_file_that_carries_code_is_refused(suffix: str, tmp_path: Path) -> None:
    quiet_tensorflow.load()
    import keras

    from skinlesion.network.classifier import save_model

    harmful = keras.Sequential([keras.Input((224, 224, 3)), keras.layers.Lambda(lambda pixels: pixels)])
    save_model(harmful, tmp_path / f"model{suffix}")
    (tmp_path / "decision_rule.json").write_text(json.dumps(RULE))
    with pytest.raises(DataError, match=f"model{suffix} does not hold a classifier in Keras's format: it has a Lambda"):
        classifier_of(tmp_path / f"model{suffix}")


def test_a_dicom_file_and_one_of_other_colours_have_the_probabilities_of_the_picture(shared: Served) -> None:
    pixels = picture(3, (600, 450))
    p3 = pixels_for_model(png := coded_as(pixels, "PNG", icc_profile=DISPLAY_P3), max_pixels=10**8, min_side=32)
    sent = [
        coded_as(pixels, "PNG"),
        dicom_of(pixels),
        dicom_of(pixels, planar=1, PatientName="Doe^Jane"),
        png,
        coded_as(p3, "PNG"),
    ]
    said = [one["probabilities"] for one in shared.predict(*sent).json()["predictions"]]
    assert said[0] == said[1] == said[2]
    assert said[3] == said[4]
    assert said[3] != said[0]
