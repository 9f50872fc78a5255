"""What the trigger forms of the DAGs ask for and accept: every setting as it is, and no place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from skin_lesion_dag_settings import FIRST
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.stages.settings import SECTION_OF, PipelineConfig

if TYPE_CHECKING:
    from airflow.sdk import DAG

OF_A_PREDICTION = ("max_image_pixels", "min_image_side", "shards", "workers")

PLACES = {
    "dataset", "models", "prediction_folders", "drop_folder", "object_store", "object_store_endpoint", "isic_address",
    "challenge_address", "dataverse_address", "change_plan",
    "prediction_log",
}  # fmt: skip
"""The settings that say what a worker reads, writes or asks: the installation sets them, and no run."""

OF_THE_INSTALLATION = {"gate_sealed_share", "gate_sealed_from", "gate_open_sealed_every", "review_readers"}
"""Which lesions no night scores, and how many readers an answer needs: no run may open what is sealed, or count with fewer."""

IN_A_FORM = [name for name in PipelineConfig.model_fields if name not in PLACES | OF_THE_INSTALLATION]

PLACES_ELSEWHERE = (
    "/other", "/other/weights.h5", "../other", "dataset/../../other", "file:///other", "s3://bucket/prefix",
    "http://127.0.0.1:5432", "https://user:password@host/", "host:5432", "//host/share", "~/other", "\\\\host\\share",
)  # fmt: skip

REFUSED = [
    ("epochs", 0), ("epochs", 501), ("epochs", 2.5), ("epochs", "many"), ("epochs", None), ("head_epochs", -1),
    ("copies", -1), ("copies", 21), ("weights", ""), ("cut", "x"), ("shards", 0), ("shards", 65),
    ("fine_tune", "yes"), ("loader", "x"), ("class_weighting", ""), ("dropout", 1), ("dropout", -0.1),
    ("learning_rate", 0), ("learning_rate", 1.5), ("label_smoothing", 1), ("inner_fold_fraction", 0),
    ("held_out_fraction", 0.04), ("held_out_fraction", 0.6), ("jpeg_quality", 49), ("jpeg_quality", 101),
    ("rotation_degrees", 26), ("flip_probability", 1.1), ("zoom_factor", 0.9), ("batch_size", 0), ("patience", 0),
    ("seed", -1), ("seed", 2**31), ("workers", -1), ("force", "perhaps"), ("dataset", 5), ("min_image_side", 225),
    ("drop_folder", 5), ("object_store", "bucket/prefix"), ("object_store", "s3://key:secret@bucket/prefix"),
    ("object_store", "https://host/images?signature=secret"), ("isic_address", "https://host/?token=secret"),
    ("object_store_endpoint", "localhost:9000"), ("isic_collections", "7,nine"), ("isic_address", ""),
    ("isic_address", None), ("challenge_address", "ftp://host"), ("network_timeout", 0), ("network_attempts", 21),
    ("connections", 0), ("drop_settle_seconds", -1), ("ingest_wait", -1),
    ("gate_balanced_accuracy_margin", -0.1), ("gate_sensitivity_margin", 1.1), ("gate_confidence", 0.4),
    ("gate_confidence", 1), ("gate_min_auroc", 2), ("gate_max_latency", 0), ("gate_max_size", 0),
    ("require_approval", "perhaps"), ("approval_hours", 0), ("approval_hours", 721), ("keep_versions", 1),
]  # fmt: skip

ACCEPTED = [
    ("epochs", 1), ("epochs", 500), ("head_epochs", 0), ("copies", 0), ("copies", 20), ("weights", "random"),
    ("weights", "/data/mobilenet.h5"), ("cut", "block_16_project_BN"), ("shards", 64), ("fine_tune", "full"),
    ("loader", "image-data-generator"), ("dropout", 0), ("learning_rate", 1), ("held_out_fraction", 0.5),
    ("seed", 2**31 - 1), ("force", True), ("dataset", "/data"),
    ("drop_folder", ""), ("drop_folder", None), ("drop_folder", "/in"), ("object_store", None),
    ("object_store", "s3://bucket/prefix"), ("object_store", "gs://bucket"), ("isic_query", 'age_approx:[20 TO 40] AND sex:male'),
    ("isic_query", None), ("isic_collections", "2,17"), ("object_store_endpoint", "http://localhost:9000"),
    ("isic_address", "http://127.0.0.1:8000"), ("ingest_wait", 0),
    ("gate_sensitivity_margin", 0), ("gate_confidence", 0.5), ("require_approval", True), ("approval_hours", 0.5),
    ("keep_versions", 2),
]  # fmt: skip


def refuses(param: Any, value: Any) -> bool:
    """Return whether a field of a form does not take a value."""
    from airflow.sdk.exceptions import ParamValidationError

    try:
        copy.deepcopy(param).resolve(value)
    except ParamValidationError:
        return True
    return False


@pytest.fixture
def field(retrain: Any, promote: DAG, monitor: DAG) -> Callable[[str], Any]:
    """Return a field of the form, apart from the DAG's: to resolve a value sets it."""
    return lambda name: copy.deepcopy(
        (
            promote if name in PromotionSettings.own_fields()
            else monitor if name in MonitorSettings.own_fields()
            else retrain
        ).params.get_param(name)
    )  # fmt: skip


@pytest.mark.parametrize("name", IN_A_FORM)
def test_every_setting_is_in_the_form_with_title_and_text(name: str, field: Callable[[str], Any]) -> None:
    setting = PipelineConfig.model_fields[name]
    param = field(name)
    assert param.schema["title"] == setting.title
    said = param.description
    assert said.replace("“", "`").replace("”", "`") == setting.description
    assert len(said) > 20
    assert param.schema.get("section") == (None if name in FIRST else f"Advanced: {SECTION_OF[name]}")
    assert param.resolve() == json.loads(PipelineConfig().model_dump_json())[name]


def test_every_field_has_a_title_a_text_and_a_default_so_that_a_failure_can_be_told(each_dag: Any) -> None:
    for name in each_dag.params:
        field = each_dag.params.get_param(name)
        assert field.schema["title"], name
        assert field.description.endswith("."), name
        assert "`" not in field.description, name
        copy.deepcopy(field).resolve()


def test_a_dozen_fields_stand_first_and_the_rest_is_closed(each_dag: Any) -> None:
    sections = [each_dag.params.get_param(name).schema.get("section") for name in each_dag.params]
    first = sections.index(next(section for section in sections if section))
    assert first <= 12
    assert all(section and section.startswith("Advanced: ") for section in sections[first:])
    assert sections[first:] == sorted(sections[first:], key=sections.index)  # no section comes twice


def test_no_form_asks_for_a_place(each_dag: Any) -> None:
    assert (PLACES | OF_THE_INSTALLATION).isdisjoint(each_dag.params)


@pytest.mark.parametrize("place", PLACES_ELSEWHERE)
def test_no_field_takes_a_path_or_an_address(each_dag: Any, place: str) -> None:
    """Lost otherwise: a run that anybody may trigger moved files out of the models folder and read file:///other."""
    # What the ISIC Archive is asked for goes to the installation's address; of the images, the first task refuses.
    for name in set(each_dag.params) - {"isic_query", "images"}:
        assert refuses(each_dag.params.get_param(name), place), name


def test_the_form_offers_the_file_of_weights_that_the_installation_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from skin_lesion_dag_settings import trigger_form

    monkeypatch.setenv("SKINLESION_WEIGHTS", "/data/mobilenet.h5")
    assert trigger_form(["weights"])["weights"].resolve() == "/data/mobilenet.h5"
    for own in ("imagenet", "/data/mobilenet.h5"):
        assert trigger_form(["weights"])["weights"].resolve(own) == own
    assert refuses(trigger_form(["weights"])["weights"], "/data/other.h5")


def test_the_forms_have_nothing_else(retrain: Any, promote: DAG, monitor: DAG, predict: DAG) -> None:
    of_promotion = set(PromotionSettings.own_fields()) - PLACES - OF_THE_INSTALLATION
    of_monitor = set(MonitorSettings.own_fields()) - PLACES
    assert set(retrain.params) | of_promotion | of_monitor == set(IN_A_FORM)
    assert set(retrain.params).isdisjoint(of_promotion | of_monitor)
    assert set(monitor.params) == {*of_monitor, "actinic_keratosis"}
    assert set(promote.params) == {"version", *of_promotion, "workers"}
    assert set(predict.params) == {"images", "table", *OF_A_PREDICTION}


OF_A_RUN: dict[str, tuple[list[Any], list[Any]]] = {
    "version": ([None, 1], [0, "1", 1.5]),
    "images": (
        ["/data", "dataset/to_predict", "/data/a..b/c", "..a", "x.."],
        ["..", "../other", "dataset/../../other", "/data/..", "dataset/\0", "a\nb", "", 3],
    ),
    "table": (
        ["found.csv", "2026-11_x.parquet"],
        ["../found.csv", "/tmp/found.csv", "a/b.csv", ".csv", "found.xlsx", "", None],
    ),
}
"""What the fields that are no settings take, and what they refuse."""


@pytest.mark.parametrize("name", OF_A_RUN)
def test_a_version_is_a_number_no_folder_of_images_leads_upwards_and_a_table_has_a_plain_name(
    name: str, promote: DAG, predict: DAG
) -> None:
    param = (promote if name == "version" else predict).params.get_param(name)
    taken, refused = OF_A_RUN[name]
    assert [copy.deepcopy(param).resolve(value) for value in taken] == taken
    for value in refused:
        assert refuses(param, value), value


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_form_and_settings_refuse_the_same(name: str, value: Any, field: Callable[[str], Any]) -> None:
    if name in IN_A_FORM:
        assert refuses(field(name), value)
    with pytest.raises(DataError, match=name):
        PipelineConfig.of({name: value})


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_form_and_settings_accept_the_same(name: str, value: Any, field: Callable[[str], Any]) -> None:
    if name in IN_A_FORM and not str(value).startswith("/"):
        assert field(name).resolve(value) == value
    PipelineConfig.of({name: value})


@pytest.mark.parametrize("name", OF_A_PREDICTION)
def test_the_form_of_a_prediction_has_the_settings_as_they_are(name: str, predict: DAG) -> None:
    param = copy.deepcopy(predict.params.get_param(name))
    assert param.schema["title"] == PipelineConfig.model_fields[name].title
    assert param.resolve() == json.loads(PipelineConfig().model_dump_json())[name]
