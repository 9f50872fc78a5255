"""Train for real, on sample data and a random backbone, and look at what comes out."""

import itertools
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, read_manifest
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.data.training_view import view_files
from skinlesion.foundation import layout
from skinlesion.network.backbone import activations_key
from skinlesion.network.built_model import require_built_model
from skinlesion.network.litert import LiteRTModel
from skinlesion.registry import in_service
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import read_verdict
from skinlesion.stages.evaluate import metrics_of
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training import inner_fold

NO_FLOORS = {"gate_min_auroc": 0, "gate_min_sensitivity": 0, "gate_max_calibration_error": 1}
SETTINGS = {"weights": "random", "fine_tune": "none", "copies": 0, "epochs": 6, "patience": 6, "learning_rate": 1e-5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of which everything but training is done."""
    folder = tmp_path_factory.mktemp("ways")
    write_sample(folder / "dataset", images=90, seed=1, size=(120, 90))
    for stage in ("ingest", "resize", "augment", "organize", "build"):
        run_stage(stage, config_of(folder))
    return folder


def config_of(folder: Path, **settings: Any) -> PipelineConfig:
    return PipelineConfig.of(SETTINGS | {"dataset": folder / "dataset", "models": folder / "models"} | settings)


def trained(config: PipelineConfig) -> Candidate:
    run_stage("embed", config)
    report = run_stage("train", config)
    return Candidate(layout.candidate(config.models, report.details["run"]))


def predictions(config: PipelineConfig, candidate: Candidate) -> np.ndarray:
    model = LiteRTModel(candidate.tflite)
    rows = held_out_rows(read_manifest(config.dataset))
    return np.stack([model(file.read()) for file in view_files(config.dataset, rows)])


def weights_of(candidate: Candidate) -> list[np.ndarray]:
    return keras.models.load_model(candidate.keras, compile=False).get_weights()


def test_both_ways_of_training_the_head_find_the_same_model(folder: Path) -> None:
    # The plain way knows the three classes and the pictures as they lie, so the other one learns from no more here.
    stored = config_of(folder, diagnosis_share=0, stored_ways=1)
    plain = config_of(folder, diagnosis_share=0, stored_ways=1, loader="image-data-generator")
    from_stored, from_images = trained(stored), trained(plain)
    assert from_stored.run != from_images.run

    metrics = {}
    for config, candidate in ((stored, from_stored), (plain, from_images)):
        run_stage("evaluate", config)
        metrics[config.loader] = json.loads(candidate.metrics.read_text())["balanced_accuracy"]
    # Some 18 held-out images: one of a class of four changes the balanced accuracy by .08.
    assert metrics["stored-activations"] == pytest.approx(metrics["image-data-generator"], abs=0.17)
    # They see the same rows in another order and another precision, so they agree image by image as well.
    difference = np.abs(predictions(stored, from_stored) - predictions(plain, from_images))
    assert difference.mean() < 0.06


def test_the_same_seed_gives_bit_identical_weights_and_another_one_does_not(folder: Path) -> None:
    config = config_of(folder, epochs=2)
    first = weights_of(trained(config))
    again = weights_of(trained(config_of(folder, epochs=2, force=True)))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = weights_of(trained(config_of(folder, epochs=2, seed=7)))
    assert not all(np.array_equal(a, b) for a, b in zip(first[-4:], other[-4:], strict=True))


def test_the_frozen_part_leaves_training_as_it_entered(folder: Path) -> None:
    config = config_of(folder)
    before = keras.models.load_model(layout.built_model(config.models), compile=False)
    after = keras.models.load_model(trained(config).keras, compile=False)
    for layer in before.layers:
        is_head = layer.name in ("head_dense", "probabilities")
        same = all(
            np.array_equal(a, b)
            for a, b in zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True)
        )
        assert same is not is_head, layer.name


def test_a_trained_candidate_is_not_trained_again_and_an_altered_file_is(folder: Path) -> None:
    config = config_of(folder, epochs=1)
    candidate = trained(config)
    assert run_stage("train", config).done == 0
    before = candidate.h5.read_bytes()
    candidate.h5.write_bytes(before[:-1])
    assert run_stage("train", config).done > 0
    assert candidate.read_training() is not None


def test_full_fine_tuning_reads_images_and_changes_the_first_layer(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where an epoch made the inner fold worse, the weights before it would stay: each is better than the one before.
    losses = itertools.count(100, -1)
    monkeypatch.setattr(inner_fold, "measure_inner_fold", lambda part, batches: {"val_loss": float(next(losses))})
    config = config_of(folder, fine_tune="full", epochs=1, head_epochs=1, batch_size=16)
    candidate = trained(config)
    built = keras.models.load_model(layout.built_model(config.models), compile=False)
    full = keras.models.load_model(candidate.keras, compile=False)
    history = json.loads(candidate.training.read_text())["history"]
    assert [row["phase"] for row in history] == ["head", "full"]
    assert not np.array_equal(built.get_layer("Conv1").get_weights()[0], full.get_layer("Conv1").get_weights()[0])


def test_all_three_files_of_a_candidate_give_the_same_probabilities(folder: Path) -> None:
    config = config_of(folder, epochs=1)
    candidate = trained(config)
    expected = predictions(config, candidate)
    rows = held_out_rows(read_manifest(config.dataset))
    images = np.stack([file.read() for file in view_files(config.dataset, rows)]).astype(np.float32)
    for path in (candidate.h5, candidate.keras):
        found = keras.models.load_model(path, compile=False).predict_on_batch(images)
        assert np.abs(np.asarray(found).reshape(expected.shape) - expected).max() < 1e-4


def test_evaluation_registers_the_candidate_with_its_report_and_leaves_what_is_in_service(folder: Path) -> None:
    config = config_of(folder, epochs=1)
    candidate = trained(config)
    before = in_service.read(config.models)
    report = run_stage("evaluate", config)
    assert in_service.read(config.models) == before
    metrics = metrics_of(config, candidate.run)
    assert metrics.run == candidate.run == report.details["run"]
    version = Registry.read(config.models).version(report.details["version"])
    assert (version.run, version.state) == (candidate.run, "candidate")
    assert version.figure("balanced_accuracy").value == metrics.balanced_accuracy
    assert np.sum(metrics.confusion_matrix) == metrics.images == len(held_out_rows(read_manifest(config.dataset)))
    html = candidate.report.read_text()
    assert "Not a medical device" in html
    assert 'src="http' not in html
    stored = pd.read_parquet(candidate.predictions)
    assert stored[list(LABELS)].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    mtimes = {path: path.stat().st_mtime_ns for path in candidate.folder.iterdir()}
    assert run_stage("evaluate", config).done == 0
    assert {path: path.stat().st_mtime_ns for path in candidate.folder.iterdir()} == mtimes


def test_the_second_model_is_compared_with_the_one_in_service(folder: Path) -> None:
    first = config_of(folder, epochs=1, **NO_FLOORS)
    trained(first)
    run_stage("evaluate", first)
    assert run_stage("promote", first).details["promoted"]
    champion = Registry.read(first.models).champion
    assert champion is not None
    other = config_of(folder, epochs=2, seed=3, **NO_FLOORS)
    run_stage("build", other)
    candidate = trained(other)
    evaluated = run_stage("evaluate", other)
    promoted = run_stage("promote", other)
    run_stage("build", config_of(folder))
    assert json.loads(candidate.metrics.read_text())["model_in_service"]["images"] > 0
    assert "in service" in candidate.report.read_text()
    verdict = read_verdict(other.models, candidate.run, evaluated.details["version"])
    assert verdict is not None
    assert verdict.against == champion.number
    accuracy = next(one for one in verdict.criteria if one.name == "balanced_accuracy_margin")
    assert accuracy.numbers["candidate"] == pytest.approx(metrics_of(other, candidate.run).balanced_accuracy)
    assert accuracy.numbers["champion"] == pytest.approx(metrics_of(other, champion.run).balanced_accuracy)
    assert promoted.details["promoted"] == verdict.passed


def test_activations_are_kept_under_a_key_that_names_weights_cut_and_preprocessing(folder: Path) -> None:
    config = config_of(folder)
    trained(config)
    key = activations_key(require_built_model(config.models).weights_key, "global_average_pooling", config.stored_ways)
    assert (layout.features(config.dataset) / key / "frozen_part.tflite").is_file()
