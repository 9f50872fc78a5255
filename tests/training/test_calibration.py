"""What train decides on the inner fold and what predictions make of it, on a network of two layers and one trained for real."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
from tests.made_once import MakeOnce
from tests.trained import skinlesion
from tests.training_record import write_training_record

from skinlesion.data.images.file import Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import read_manifest, training_rows
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.no_lesions import ALTERED, DRAWN, smoke_set
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.network.classifier import load_classifier, save_model
from skinlesion.network.feature_distance import LAYERS, FeatureDistance, with_distance, with_features
from skinlesion.network.litert import LiteRTModel, convert_to_litert
from skinlesion.prediction.classifier import Answer, classifier_of
from skinlesion.prediction.decision import DecisionRule
from skinlesion.prediction.learnt import LearntPictures
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.group_decisions import DECISIONS
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.calibration import calibrate, divide_logits
from skinlesion.training.inner_fold import choose_inner_fold
from skinlesion.training.phases import TrainingSet, class_weights

SETTINGS = {
    "weights": "random", "fine_tune": "none", "copies": 0, "epochs": 2, "stored_ways": 1, "learning_rate": 1e-4, "workers": 2,
}  # fmt: skip
DATA_SIDE = ("ingest", "resize", "augment", "organize")


def run_on_a_sample(folder: Path, *stages: str) -> None:
    write_sample(folder / "dataset", images=150, seed=2, size=(150, 112))
    for stage in stages:
        run_stage(stage, config_of(folder))


def config_of(folder: Path) -> PipelineConfig:
    return PipelineConfig.of(SETTINGS | {"dataset": folder / "dataset", "models": folder / "models"})


@pytest.fixture(scope="module")
def config(make_once: MakeOnce) -> PipelineConfig:
    return config_of(make_once("sample_of_150", lambda folder: run_on_a_sample(folder, *DATA_SIDE)))


@pytest.fixture(scope="module")
def trained(make_once: MakeOnce) -> Candidate:
    """Return the candidate that train wrote of the sample."""
    stages = (*DATA_SIDE, "build", "embed", "train")
    models = config_of(make_once("trained_on_150", lambda folder: run_on_a_sample(folder, *stages))).models
    (folder,) = (models / "candidates").iterdir()
    return Candidate(folder)


@pytest.fixture(scope="module")
def images(config: PipelineConfig) -> list[Pixels]:
    manifest = read_manifest(config.dataset)
    return [file.read() for file in view_files(config.dataset, manifest[manifest["split"] != "train"])]


@pytest.fixture
def network() -> keras.Model:
    """Return a network of random weights with the layers of which distances are computed, and no others."""
    keras.utils.set_random_seed(0)
    (early, channels), (late, more) = LAYERS.items()
    image = keras.Input((224, 224, 3))
    small = keras.layers.AveragePooling2D(4)(keras.layers.Rescaling(1 / 127.5, -1)(image))
    seen = keras.layers.Conv2D(channels, 3, strides=2, activation="relu", name=early)(small)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(more, 3, strides=2, name=late)(seen))
    return keras.Model(image, keras.layers.Dense(len(LABELS), activation="softmax", name="probabilities")(pooled))


@pytest.fixture
def small(make_once: MakeOnce, config: PipelineConfig, network: keras.Model, tmp_path: Path) -> Candidate:
    """Return a copy of the files that train would write of the network."""

    def write(folder: Path) -> None:
        candidate = Candidate(folder)
        rule, distance = calibrate(config, network, data_of(config))
        assert distance is not None
        rule.write(candidate.decision_rule)
        distance.write(candidate.feature_distance)
        LearntPictures.of(data_of(config).rows["original"], []).write(candidate.learnt_pictures)
        save_model(network, candidate.h5)
        save_model(network, candidate.keras)
        convert_to_litert(with_distance(network, distance), candidate.tflite)
        write_training_record(candidate, sha256=candidate.digests())

    return Candidate(shutil.copytree(make_once("calibrated_network", write), tmp_path / "small"))


@pytest.fixture(params=["small", pytest.param("trained", marks=pytest.mark.slow)])
def candidate(request: pytest.FixtureRequest) -> Candidate:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Candidate)
    return found


def data_of(config: PipelineConfig, inner: npt.NDArray[np.bool_] | None = None) -> TrainingSet:
    rows = training_rows(read_manifest(config.dataset))
    chosen = choose_inner_fold(rows, config.inner_fold_fraction) if inner is None else inner
    return TrainingSet(rows, chosen, class_weights(rows, config.class_weighting))


def answers(path: Path, images: list[Pixels]) -> list[Answer]:
    classify = classifier_of(path)()
    return [classify(image) for image in images[:3]]


def test_dividing_the_logits_gives_the_tempered_probabilities(network: keras.Model, images: list[Pixels]) -> None:
    batch = np.stack(images[:4]).astype(np.float32)
    before = np.log(np.asarray(network(batch, training=False), dtype=np.float64)) / 1.8
    divide_logits(network, 1.8)
    expected = np.exp(before) / np.exp(before).sum(axis=1, keepdims=True)
    assert np.asarray(network(batch, training=False)) == pytest.approx(expected, abs=1e-5)


def test_a_training_that_diverged_is_refused_before_anything_is_calibrated(
    config: PipelineConfig, network: keras.Model
) -> None:
    divide_logits(network, float("nan"))
    with pytest.raises(DataError, match="Lower `learning_rate`"):
        calibrate(config, network, data_of(config))


def test_a_model_is_calibrated_on_top_of_what_it_was_given(config: PipelineConfig, network: keras.Model) -> None:
    divide_logits(network, 0.1)
    first, second = (calibrate(config, network, data_of(config))[0] for _ in range(2))
    # Of a dozen images the prior leaves some to do.
    assert 1 < second.temperature < first.temperature
    assert second.inner_fold["ece_before"] == pytest.approx(first.inner_fold["ece_after"], abs=0.01)


def test_the_rule_says_what_it_does_on_the_inner_fold(candidate: Candidate) -> None:
    rule = DecisionRule.read(candidate.decision_rule)
    found: dict[str, Any] = rule.inner_fold
    assert found["abstained_share"] <= 1 - rule.coverage
    for when in ("before", "after"):
        assert 0 <= found[f"ece_{when}"] <= 1
        assert sum(row["count"] for row in found[f"reliability_{when}"]) == found["images"]
    assert sum(rule.class_shares) == pytest.approx(1)


@pytest.mark.slow
def test_train_records_the_files_of_the_rule_and_measures_it_on_the_inner_fold(trained: Candidate) -> None:
    record = trained.read_training()
    assert record is not None
    assert {"decision_rule.json", "feature_distance.npz"} <= record.sha256.keys()
    assert DecisionRule.read(trained.decision_rule).inner_fold["images"] == record.inner_fold.images


def test_without_an_inner_fold_nothing_is_calibrated_and_that_is_said(
    config: PipelineConfig, network: keras.Model
) -> None:
    rows = training_rows(read_manifest(config.dataset))
    rule, distance = calibrate(config, network, data_of(config, np.zeros(len(rows), np.bool_)))
    assert (rule.temperature, rule.malignant_threshold, rule.least_confidence) == (1.0, 0.5, 0.0)
    assert distance is not None and rule.most_distance is not None
    assert rule.inner_fold == {"images": 0, "malignant": 0}
    assert [sentence for sentence in rule.warnings if "The inner fold is empty" in sentence]


def test_an_inner_fold_without_a_class_leaves_the_temperature(config: PipelineConfig, network: keras.Model) -> None:
    data = data_of(config)
    data = data_of(config, data.inner & (data.rows["label"] != "malignant").to_numpy())
    rule, _ = calibrate(config, network, data)
    assert rule.temperature == 1.0
    assert (rule.inner_fold["malignant"], rule.inner_fold["sensitivity"]) == (0, None)
    assert ["no image of class malignant" in sentence for sentence in rule.warnings] == [True]


def test_from_a_handful_of_images_nobody_learns_what_images_look_like(
    config: PipelineConfig, network: keras.Model
) -> None:
    rows = training_rows(read_manifest(config.dataset))
    few = np.arange(len(rows)) >= 5
    rule, distance = calibrate(config, network, data_of(config, few))
    assert (distance, rule.most_distance, rule.distance) == (None, None, None)
    assert ["whether an image is unlike them is not measured" in sentence for sentence in rule.warnings] == [True]


def test_litert_gives_the_distance_that_the_features_have(candidate: Candidate, images: list[Pixels]) -> None:
    distance = FeatureDistance.read(candidate.feature_distance)
    network = with_features(load_classifier(candidate.keras))
    probabilities, features = network(np.stack(images[:4]).astype(np.float32), training=False)
    found = [LiteRTModel(candidate.tflite).run(image) for image in images[:4]]
    assert np.stack([row[0] for row in found]) == pytest.approx(np.asarray(probabilities), abs=1e-4)
    assert np.concatenate([row[1] for row in found]) == pytest.approx(distance(np.asarray(features)), rel=1e-3)


def test_every_file_of_a_candidate_answers_the_same(candidate: Candidate, images: list[Pixels]) -> None:
    expected = answers(candidate.tflite, images)
    for path in (candidate.h5, candidate.keras):
        for answer, other in zip(answers(path, images), expected, strict=True):
            assert answer.probabilities == pytest.approx(other.probabilities, abs=1e-4)
            assert answer.distance == pytest.approx(other.distance, rel=1e-3)
            assert answer.decision == other.decision


def test_pictures_that_show_no_lesion_get_no_answer(candidate: Candidate, images: list[Pixels]) -> None:
    classify = classifier_of(candidate.tflite)()
    pictures = smoke_set(images, each=2)
    unlike = [kind for kind, picture in pictures if classify(picture).reason.startswith("Not like the images")]
    assert len(unlike) >= 0.9 * len(pictures)
    assert len(set(unlike)) >= len(DRAWN | ALTERED) - 1
    held_out = [classify(image).reason.startswith("Not like the images") for image in images]
    assert np.mean(held_out) <= 0.15


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "feature_distance.npz"),
        (lambda path: path.write_bytes(b"no arrays"), "feature_distance.npz"),
        (lambda path: FeatureDistance((np.zeros(4),) * 2, (np.eye(4),) * 2).write(path), "distances"),
    ],
    ids=["missing", "damaged", "of other features"],
)
def test_distances_that_cannot_be_computed_are_reported(
    small: Candidate, harm: Callable[[Path], object], message: str
) -> None:
    harm(small.feature_distance)
    with pytest.raises(DataError, match=message):
        classifier_of(small.h5)


def test_a_rule_beside_a_model_that_gives_no_distance_is_reported(small: Candidate, network: keras.Model) -> None:
    convert_to_litert(network, small.tflite)
    with pytest.raises(DataError, match="does not measure how unlike"):
        classifier_of(small.tflite)


def test_images_that_are_all_alike_have_distances() -> None:
    alike = np.tile(np.random.default_rng(0).random(256), (50, 1))
    distance = FeatureDistance.fit(alike, alike, alike)
    assert distance(alike) == pytest.approx(0, abs=0.1)
    assert np.all(distance(alike + 1) > 100)


@pytest.mark.parametrize("name", ["decision_rule.json", "feature_distance.npz", "learnt_pictures.npz"])
def test_a_candidate_whose_rule_is_gone_or_altered_is_not_whole(
    candidate: Candidate, tmp_path: Path, name: str
) -> None:
    copy = Candidate(shutil.copytree(candidate.folder, tmp_path / "copy"))
    assert copy.read_training() is not None
    (copy.folder / name).write_bytes(b"altered")
    assert copy.read_training() is None
    (copy.folder / name).unlink()
    assert copy.read_training() is None


def test_predict_says_what_is_decided_and_why(candidate: Candidate, config: PipelineConfig) -> None:
    done = skinlesion("predict", "--model", candidate.tflite, min(layout.images(config.dataset).iterdir()))
    assert done.returncode == 0
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert list(row) == ["image", "benign", "malignant", "unknown", "label", "decision", "reason", "learnt", "file"]
    assert row["decision"] in DECISIONS
    assert row["learnt"] in ("same file", "no")
    assert row["reason"].endswith(".")
