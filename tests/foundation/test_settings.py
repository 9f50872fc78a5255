from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import POOLED, PROJECT_ROOT, STAGE_SETTINGS, PipelineConfig


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in os.environ:
        if name.startswith("SKINLESION_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"There is no setting `epoch`\. Known settings: dataset, .*epochs"),
        ({"epochs": 0}, r"Setting `epochs`: .*greater than or equal to 1; found 0"),
        ({"epochs": "three"}, r"Setting `epochs`: .*integer.*found 'three'"),
        ({"held_out_fraction": 0.9}, r"Setting `held_out_fraction`: .*less than or equal to 0\.5; found 0\.9"),
        ({"jpeg_quality": 101}, r"Setting `jpeg_quality`"),
        ({"cut": "block_1"}, r"Setting `cut`: .*'block_12_add'.*found 'block_1'"),
        ({"loader": "other"}, r"Setting `loader`"),
        (
            {"weights": "resnet"},
            r"Setting `weights`: .*expected `imagenet`, `random`, or the path of a \.h5 file; found",
        ),
        ({"force": "perhaps"}, r"Setting `force`"),
        ({"dataset": None}, r"Setting `dataset`"),
        ({"learning_rate": float("nan")}, r"Setting `learning_rate`"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(settings, message):
    with pytest.raises(DataError, match=message):
        PipelineConfig.of(settings)


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(DataError) as error:
        PipelineConfig.of({"epochs": 0, "copies": 99, "nonsense": 1})
    assert all(name in str(error.value) for name in ("`epochs`", "`copies`", "`nonsense`"))


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [
        ({"epochs": "3"}, "epochs", 3),
        ({"force": "true"}, "force", True),
        ({"weights": "/w/mine.h5"}, "weights", "/w/mine.h5"),
        ({"dataset": "here"}, "dataset", PROJECT_ROOT / "here"),
        ({"dataset": "/there"}, "dataset", Path("/there")),
    ],
)
def test_settings_may_be_strings_and_paths_are_relative_to_the_project(settings, name, value):
    assert getattr(PipelineConfig.of(settings), name) == value


def test_the_caller_goes_before_the_environment_and_that_before_the_default(monkeypatch):
    default = PipelineConfig.of({}).epochs
    monkeypatch.setenv("SKINLESION_EPOCHS", str(default + 1))
    assert PipelineConfig.of({}).epochs == default + 1
    assert PipelineConfig.of({"epochs": default + 2}).epochs == default + 2
    monkeypatch.setenv("SKINLESION_EPOCHS", "many")
    with pytest.raises(DataError, match="`epochs`"):
        PipelineConfig.of({})


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        PipelineConfig.of({}).epochs = 3


OTHER = {
    "copies": 2,
    "seed": 1,
    "jpeg_quality": 90,
    "dropout": 0.1,
    "epochs": 3,
    "workers": 3,
    "held_out_fraction": 0.3,
    "drop_folder": "/in",
    "object_store": "s3://bucket/prefix",
    "isic_query": "sex:male",
    "network_timeout": 5,
}


@pytest.mark.parametrize("stage", STAGE_SETTINGS)
def test_a_fingerprint_changes_with_the_stages_settings_and_no_others(stage):
    assert set(STAGE_SETTINGS[stage]) <= set(PipelineConfig.model_fields)
    before = PipelineConfig.of({}).fingerprint(stage)
    for name, value in OTHER.items():
        changed = PipelineConfig.of({name: value}).fingerprint(stage) != before
        assert changed == (name in STAGE_SETTINGS[stage]), name


def test_workers_are_all_cores_of_the_process_unless_said_otherwise():
    assert PipelineConfig.of({"workers": 0}).workers_used() == len(os.sched_getaffinity(0))
    assert PipelineConfig.of({"workers": 7}).workers_used() == 7


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({"fine_tune": "tail", "cut": "block_14_add"}, "block_14_add"),
        ({"fine_tune": "none"}, POOLED),
        ({"fine_tune": "full"}, POOLED),
        ({"loader": "image-data-generator"}, None),
    ],
)
def test_what_is_stored_follows_from_the_way_of_training(settings, cut):
    assert PipelineConfig.of(settings).stored_cut == cut


@pytest.mark.parametrize(
    ("given", "folder"), [("", None), (None, None), ("in", PROJECT_ROOT / "in"), ("/there/in", Path("/there/in"))]
)
def test_a_drop_folder_is_relative_to_the_project_and_may_be_none(given, folder):
    assert PipelineConfig.of({"drop_folder": given}).drop_path == folder
