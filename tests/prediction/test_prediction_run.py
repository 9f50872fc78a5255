"""A run of predictions: one model for all its shards, the same table from the DAG and the command, in its folder only."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.prediction.real_server import Models, drawn
from tests.strange_files import STRANGE, make_strange, watched
from tests.trained import skinlesion

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import DatasetBusy, locked
from skinlesion.foundation.shard import Shard
from skinlesion.prediction.folder import refused_beside
from skinlesion.prediction.prediction_run import PredictionRun, run_into_dataset
from skinlesion.registry import model_files
from skinlesion.stages.settings import PipelineConfig


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset" / "to_predict"
    (folder / "clinic").mkdir(parents=True)
    for seed in (2, 3, 4, 5):  # in both halves and all thirds of the buckets
        (folder / ("clinic" if seed % 2 else ".") / f"lesion{seed}.jpg").write_bytes(drawn(seed))
    (folder / "letter.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture
def config(models: Models, tmp_path: Path) -> PipelineConfig:
    """Return the settings of an installation with version a in service."""
    return PipelineConfig.of({"dataset": tmp_path / "dataset", "models": tmp_path / "models", "workers": 2})


def command(config: PipelineConfig, *arguments: object) -> int:
    """Run `skinlesion predict`; return its exit status."""
    return skinlesion("predict", "--models", config.models, "--quiet", *arguments).returncode


def rows(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def refused(table: Path) -> dict[str, str]:
    """Return the reason of each refused image, by its name."""
    return {Path(row["file"]).name: row["reason"] for row in rows(refused_beside(table))}


def test_slices_by_hand_then_the_command_give_the_same_table(
    images: Path, config: PipelineConfig, tmp_path: Path
) -> None:
    whole, sliced = tmp_path / "whole" / "found.csv", tmp_path / "sliced" / "found.csv"
    command(config, "--output", whole, images)
    statuses = [command(config, "--output", sliced, "--shard", f"{index}/3", images) for index in (1, 2, 3)]
    assert sorted(statuses) == [0, 0, 1]  # the slice with the letter
    assert not sliced.exists()
    command(config, "--output", sliced, images)
    assert sliced.read_bytes() == whole.read_bytes()


def test_a_slice_needs_a_table_it_belongs_to(images: Path, config: PipelineConfig) -> None:
    ended = skinlesion("predict", "--models", config.models, "--shard", "1/2", images)
    assert ended.returncode == 2
    assert "--shard: expected --output as well" in ended.stderr


def test_all_shards_ask_the_model_of_the_start_whatever_is_promoted_in_the_middle(
    models: Models, images: Path, config: PipelineConfig, tmp_path: Path
) -> None:
    command(config, "--output", tmp_path / "before.csv", images)
    run = run_into_dataset(config, str(images), "found.csv")
    first = run.predict_shard(config, Shard(0, 2))
    models.switch_to("b")
    second = run.predict_shard(config, Shard(1, 2))
    merged = run.write_table(config)
    assert first.version == second.version == merged.version == 1
    assert run.table.read_bytes() == (tmp_path / "before.csv").read_bytes()
    command(config, "--output", tmp_path / "after.csv", images)
    assert (tmp_path / "after.csv").read_bytes() != (tmp_path / "before.csv").read_bytes()
    assert run_into_dataset(config, str(images), "found.csv").version == 2


@pytest.mark.parametrize("what", ["gone", "altered"])
def test_a_model_that_is_no_longer_that_of_the_start_is_not_asked(
    models: Models, images: Path, config: PipelineConfig, what: str
) -> None:
    run = run_into_dataset(config, str(images), "found.csv")
    release = run.model.parent
    if what == "gone":
        shutil.rmtree(release)
    else:
        shutil.copyfile(models.two_classifiers / "b" / model_files.TFLITE, release / model_files.TFLITE)
    with pytest.raises(DataError, match="not what it was when this run began"):
        run.predict_shard(config, Shard(0, 2))
    with pytest.raises(DataError, match="not what it was when this run began"):
        run.write_table(config)
    assert not run.table.exists()


def test_a_table_is_written_nowhere_but_in_its_folder(images: Path, config: PipelineConfig) -> None:
    for name in (
        "../found.csv", "/tmp/found.csv", "sub/found.csv", "..csv", ".csv", ".hidden.csv", "found.xlsx", "found",
        "found.csv\n", "fo\0und.csv", "", "x" * 200 + ".csv",
    ):  # fmt: skip
        with pytest.raises(DataError, match="expected a plain name ending in"):
            run_into_dataset(config, str(images), name)
    assert not layout.predictions(config.dataset).exists()


@pytest.mark.parametrize(
    "place", ["/", "{dataset}/..", "{dataset}/to_predict/../../other", "{dataset}2", "{other}", "~", "."]
)
def test_images_of_no_folder_of_the_installation_are_not_predicted(
    images: Path, config: PipelineConfig, tmp_path: Path, place: str
) -> None:
    """Lost otherwise: who may start a run learns which images lie anywhere on the worker, and what they show."""
    for folder in (tmp_path / "other", tmp_path / "dataset2"):
        shutil.copytree(images, folder)
    named = place.format(dataset=config.dataset, other=tmp_path / "other")
    with pytest.raises(DataError, match=r"expected a folder within .*SKINLESION_PREDICTION_FOLDERS|leads upwards"):
        run_into_dataset(config, named, "found.csv")


def test_images_of_a_folder_that_the_installation_names_are_predicted(
    images: Path, config: PipelineConfig, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(images, other)
    named = PipelineConfig.of({**config.model_dump(), "prediction_folders": f"{tmp_path / 'first'}:{other}"})
    for folder in (other, other / "clinic", images):
        assert run_into_dataset(named, str(folder), "found.csv").images == (folder,)


@pytest.mark.parametrize("what", ["table", "model", "images"])
def test_a_task_believes_no_other_place_that_the_run_hands_on(
    images: Path, config: PipelineConfig, tmp_path: Path, what: str
) -> None:
    """Lost otherwise: who may change an XCom writes the table, or reads a model, anywhere on the worker."""
    run = run_into_dataset(config, str(images), "found.csv")
    run.require_allowed(config)
    elsewhere: dict[str, dict[str, Any]] = {
        "table": {"table": layout.predictions(config.dataset) / ".." / ".." / "found.csv"},
        "model": {"model": tmp_path / "other" / model_files.TFLITE},
        "images": {"images": (images, tmp_path)},
    }
    with pytest.raises(DataError, match="expected"):
        run.model_copy(update=elsewhere[what]).require_allowed(config)


def test_a_folder_that_is_missing_or_empty_or_no_model_is_said_at_the_start(
    two_classifiers: Path, images: Path, config: PipelineConfig
) -> None:
    shutil.rmtree(config.models)
    config.models.mkdir()
    for nothing in (None, ""):
        with pytest.raises(DataError, match="No images are named: expected a folder"):
            run_into_dataset(config, nothing, "found.csv")
    with pytest.raises(DataError, match="nowhere is missing"):
        run_into_dataset(config, str(config.dataset / "nowhere"), "found.csv")
    (config.dataset / "empty").mkdir()
    with pytest.raises(DataError, match="No image file in"):
        run_into_dataset(config, str(config.dataset / "empty"), "found.csv")
    # A Keras file without a record is not in service.
    shutil.copyfile(two_classifiers / "a" / model_files.H5, layout.model_in_service(config.models))
    with pytest.raises(DataError, match="expected a trained model"):
        run_into_dataset(config, str(images), "found.csv")
    assert not layout.predictions(config.dataset).exists()


def test_an_attempt_that_is_still_at_work_is_waited_for_by_a_retry(images: Path, config: PipelineConfig) -> None:
    run = run_into_dataset(config, str(images), "found.csv")
    first, second = Shard.every(2)
    stored = run.table.parent / ".found.csv.partial"
    stored.mkdir(parents=True)
    with locked(stored, "prediction-02", wait=0):
        with pytest.raises(DatasetBusy, match=r"works on .*found\.csv \(process"):
            run.predict_shard(config, first)
        assert run.predict_shard(config, second).done > 0
        with pytest.raises(DatasetBusy):
            run.write_table(config)
    assert run.predict_shard(config, first).done > 0


def test_a_model_named_by_its_file_has_no_number_and_needs_its_decision_rule(
    two_classifiers: Path, images: Path, config: PipelineConfig, tmp_path: Path
) -> None:
    model = tmp_path / "alone" / model_files.TFLITE
    shutil.copytree(two_classifiers / "a", model.parent)
    run = PredictionRun.start(config, [images], tmp_path / "found.csv", model)
    assert (run.version, run.write_table(config).done) == (None, 5)
    (model.parent / "decision_rule.json").unlink()
    run = PredictionRun.start(config, [images], tmp_path / "found.csv", model)
    with pytest.raises(
        DataError, match=r"decision_rule\.json is missing: expected the decision rule of .*\.tflite.*Copy the rule"
    ):
        run.write_table(config)


@pytest.mark.parametrize(
    ("kind", "is_named"),
    [
        *((kind, False) for kind in STRANGE),
        # a path that is named and not there is an error before the first image
        *((kind, True) for kind in STRANGE if kind not in ("a link to itself", "a link to nowhere")),
    ],
)
def test_what_is_no_file_is_refused_with_its_reason_and_the_others_have_answers(
    images: Path, config: PipelineConfig, tmp_path: Path, kind: str, is_named: bool
) -> None:
    """A FIFO in the folder held the run for ever, a link to /dev/zero took the memory; what led nowhere was left out."""
    reason = make_strange(kind, images / "strange.jpg")
    table = tmp_path / "found.csv"
    with watched(tmp_path):
        assert command(config, "--output", table, *([images / "strange.jpg"] if is_named else []), images) == 1
    assert len(rows(table)) == 4
    assert reason in refused(table)["strange.jpg"]
    assert set(refused(table)) == {"letter.jpg", "strange.jpg"}


def test_a_linked_folder_is_predicted_and_one_that_leads_back_is_named(
    images: Path, config: PipelineConfig, tmp_path: Path
) -> None:
    """The first was left out without a word."""
    (images / "clinic").rename(tmp_path / "clinic")
    (images / "clinic").symlink_to(tmp_path / "clinic")
    (images / "back").symlink_to(".")
    table = tmp_path / "found.csv"
    assert command(config, "--output", table, images) == 1
    assert len(rows(table)) == 4
    assert "a link to one that is searched elsewhere" in refused(table)["back"]


@pytest.mark.parametrize("kind", STRANGE)
def test_a_model_that_is_no_file_is_one_clear_error(
    images: Path, config: PipelineConfig, tmp_path: Path, kind: str
) -> None:
    make_strange(kind, tmp_path / "model.tflite")
    with watched(tmp_path):
        ended = skinlesion("predict", "--model", tmp_path / "model.tflite", "--output", tmp_path / "found.csv", images)
    assert ended.returncode == 2
    assert "model.tflite" in ended.stderr.replace("\n", "")
