from __future__ import annotations

import os
import typing
from pathlib import Path

import pytest

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PROJECT_ROOT, Settings, setting
from skinlesion.network.settings import POOLED, ModelSettings
from skinlesion.stages import resize
from skinlesion.stages.settings import SECTION_OF, AugmentationSettings, PipelineConfig
from skinlesion.training.settings import TrainingSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SKINLESION_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"There is no setting `epoch`\. Did you mean `epochs`\? `skinlesion settings --search WORD`"),
        ({"epochs": 0}, r"Setting `epochs`: .*greater than or equal to 1; found 0"),
        ({"epochs": "three"}, r"Setting `epochs`: .*integer.*found 'three'"),
        ({"held_out_fraction": 0.9}, r"Setting `held_out_fraction`: .*less than or equal to 0\.5; found 0\.9"),
        ({"jpeg_quality": 101}, r"Setting `jpeg_quality`"),
        ({"loader": "other"}, r"Setting `loader`"),
        ({"cut": "block_1"}, r"Setting `cut`: .*'block_12_add'.*found 'block_1'"),
        ({"weights": "resnet"}, r"Setting `weights`: .*expected `imagenet`, .*or the path of a \.h5 file; found"),
        ({"dataset": None}, r"Setting `dataset`"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(settings: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        PipelineConfig.of(settings)


@pytest.mark.parametrize(
    ("name", "address"),
    [("object_store", "s3://key:s3cr3t@bucket/prefix"), ("isic_address", "https://host/?token=s3cr3t"),
     ("object_store_endpoint", "http://me:s3cr3t@host"), ("object_store", "https://host/images?sig=s3cr3t")],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_without_showing_it(name: str, address: str) -> None:
    """Lost otherwise: the refusal itself writes the key of the store into the log of a run."""
    with pytest.raises(DataError, match=name) as refused:
        PipelineConfig.of({name: address})
    assert "s3cr3t" not in str(refused.value)


def test_every_wrong_setting_is_named_at_once() -> None:
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
def test_settings_may_be_strings_and_paths_are_relative_to_the_project(
    settings: dict[str, str], name: str, value: object
) -> None:
    assert getattr(PipelineConfig.of(settings), name) == value


def test_the_caller_goes_before_the_environment_and_that_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    default = PipelineConfig.of({}).epochs
    monkeypatch.setenv("SKINLESION_EPOCHS", str(default + 1))
    assert PipelineConfig.of({}).epochs == default + 1
    assert PipelineConfig.of({"epochs": default + 2}).epochs == default + 2
    monkeypatch.setenv("SKINLESION_EPOCHS", "many")
    with pytest.raises(DataError, match="`epochs`"):
        PipelineConfig.of({})


FILES_OF = {
    "ingest": {"max_image_pixels", "min_image_side"},
    "resize": {"jpeg_quality"},
    "augment": {
        "seed", "jpeg_quality", "rotation_probability", "rotation_degrees", "flip_probability", "zoom_probability",
        "zoom_factor", "brightness_probability", "brightness_range",
    },
    "build": {"dense_units", "dropout", "seed"},
    "train": {
        "loader", "fine_tune", "cut", "mirrored", "stored_ways", "epochs", "head_epochs", "batch_size", "learning_rate", "weight_decay",
        "label_smoothing", "class_weighting", "diagnosis_share", "inner_fold_fraction", "patience", "seed",
        "target_sensitivity", "coverage",
    },
}  # fmt: skip
VERSION_OF = {"resize": resize.VERSION}
FINGERPRINTS = {
    "ingest": "6b615b17ce48be0d",
    "resize": "2348f208abf475ff",
    "augment": "9c563d831662332e",
    "build": "41f986e8a0dfcd70",
    "train": "33a14c40660ecec8",
}
SECTION_OF_STAGE: dict[str, type[Settings]] = {
    "ingest": DataSettings,
    "resize": DataSettings,
    "augment": AugmentationSettings,
    "build": ModelSettings,
    "train": TrainingSettings,
}


def another(name: str) -> object:
    """Another value that the setting may have."""
    field = PipelineConfig.model_fields[name]
    if typing.get_origin(field.annotation) is typing.Literal:
        return next(choice for choice in typing.get_args(field.annotation) if choice != field.default)
    if isinstance(field.default, bool):
        return not field.default
    if isinstance(field.default, float) and field.default != 1:
        return field.default * 0.9
    if isinstance(field.default, (int, float)):
        highest = next((bound.le for bound in field.metadata if hasattr(bound, "le")), field.default + 1)
        return field.default + (1 if field.default < highest else -1)
    return {"object_store": "s3://b/p", "isic_collections": "1", "weights": "random"}.get(name, "https://example.org")


@pytest.mark.parametrize("stage", FILES_OF)
def test_a_fingerprint_changes_with_the_stages_settings_and_no_others(stage: str) -> None:
    before = PipelineConfig.of({}).fingerprint(stage)
    for name in PipelineConfig.model_fields:
        if name in ("dataset", "models"):
            continue
        changed = PipelineConfig.of({name: another(name)}).fingerprint(stage) != before
        assert changed == (name in FILES_OF[stage]), name


@pytest.mark.parametrize("stage", FILES_OF)
def test_a_stages_own_section_gives_the_fingerprint_that_all_settings_give(stage: str) -> None:
    assert SECTION_OF_STAGE[stage].of({}).fingerprint(stage) == PipelineConfig.of({}).fingerprint(stage)


def test_fingerprints_are_those_of_earlier_releases() -> None:
    """Another hash would make every processed image, activation and model of a data set stale."""
    config = PipelineConfig.of({})
    assert {stage: config.fingerprint(stage, VERSION_OF.get(stage, 1)) for stage in FILES_OF} == FINGERPRINTS


def test_a_setting_that_was_added_later_makes_nothing_stale_at_its_default() -> None:
    class Before(Settings):
        old: int = setting(1, "Old", "Old.", makes_stale=("resize",))

    class After(Before):
        new: int = setting(0, "New", "New.", makes_stale=("resize",), added_later=True)

    assert After.of({}).fingerprint("resize") == Before.of({}).fingerprint("resize")
    assert After.of({"new": 5}).fingerprint("resize") != Before.of({}).fingerprint("resize")


def test_each_setting_has_one_section_and_a_text() -> None:
    assert set(SECTION_OF) == set(PipelineConfig.model_fields)
    for name, field in PipelineConfig.model_fields.items():
        assert SECTION_OF[name]
        assert field.title, name
        assert field.description, name
        assert field.description.endswith("."), name


@pytest.mark.parametrize(
    ("settings", "cut"),
    [
        ({"fine_tune": "tail", "cut": "block_14_add"}, "block_14_add"),
        ({"fine_tune": "none"}, POOLED),
        ({"fine_tune": "full"}, POOLED),
        ({"loader": "image-data-generator"}, None),
    ],
)
def test_what_is_stored_follows_from_the_way_of_training(settings: dict[str, str], cut: str | None) -> None:
    assert PipelineConfig.of(settings).stored_cut == cut


@pytest.mark.parametrize("given", ["", None])
def test_a_text_may_be_left_out(given: str | None) -> None:
    assert PipelineConfig.of({"drop_folder": given}).drop_folder == ""
