"""What every DAG of this project keeps to, and what each of them is."""

from __future__ import annotations

import copy
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skin_lesion_dag_settings import FIRST
from skinlesion.foundation.errors import DataError, LeakError
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.stages.pipeline import NIGHTLY, SHARDED
from skinlesion.stages.settings import SECTION_OF, PipelineConfig

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

OF_A_PREDICTION = ("max_image_pixels", "min_image_side", "shards", "workers")

PLACES = {
    "dataset", "models", "prediction_folders", "drop_folder", "object_store", "object_store_endpoint", "isic_address",
    "challenge_address", "dataverse_address",
}  # fmt: skip
"""The settings that say what a worker reads, writes or asks: the installation sets them, and no run."""

IN_A_FORM = [name for name in PipelineConfig.model_fields if name not in PLACES]

PLACES_ELSEWHERE = (
    "/other", "/other/weights.h5", "../other", "dataset/../../other", "file:///other", "s3://bucket/prefix",
    "http://127.0.0.1:5432", "https://user:password@host/", "host:5432", "//host/share", "~/other", "\\\\host\\share",
)  # fmt: skip

PROJECT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))
DAG_IDS = {"skin_lesion_predict", "skin_lesion_promote", "skin_lesion_retrain"}

HEAVY = {
    "tensorflow", "keras", "cv2", "pandas", "numpy", "Augmentor", "mlflow", "sklearn", "scipy", "matplotlib",
    "ai_edge_litert", "PIL", "pyarrow", "pandera", "simplejpeg", "rich", "typer",
}  # fmt: skip
"""Nothing of these may load in the parent of a task's process."""

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


# --- Parsing --------------------------------------------------------------------------------------------------------


def test_every_file_in_dags_parses(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


def test_parsing_gives_no_warning(bag: DagBag) -> None:
    assert bag.captured_warnings == {}


def test_every_task_is_in_a_pool_that_exists(bag: DagBag) -> None:
    assert bag.dag_warnings == set()


def parsed_in_a_fresh_process(file: Path, tmp_path: Path) -> dict[str, Any]:
    script = Path(__file__).with_name("parse_dag.py")
    command = [sys.executable, "-W", "error::DeprecationWarning", str(script), str(file), str(tmp_path / "found.json")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())
    sys.stdout.write(f"{file.name}: {found['seconds']} s, imports {', '.join(found['imported'])}\n")
    return found


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_parsing_is_light_and_touches_nothing(file: Path, tmp_path: Path) -> None:
    found = parsed_in_a_fresh_process(file, tmp_path)
    assert found["import_errors"] == []
    assert found["warnings"] == []
    assert found["dags"] != []
    assert HEAVY.isdisjoint(found["imported"])
    assert found["touched"] == []


def test_the_check_of_parsing_sees_what_it_should(tmp_path: Path) -> None:
    file = tmp_path / "heavy.py"
    file.write_text(
        """
import sqlite3
import pandas
from airflow.decorators import dag as deprecated
from airflow.sdk import BaseHook, Variable, dag

Variable.get("where")
BaseHook.get_connection("store")
sqlite3.connect(":memory:").close()

@dag
def heavy():
    pass

heavy()
"""
    )
    found = parsed_in_a_fresh_process(file, tmp_path)
    assert found["dags"] == ["heavy"]
    assert found["touched"] == ["Variable where", "Connection store", "sqlite3.connect :memory:"]
    assert "pandas" in found["imported"]
    assert "airflow.decorators" in " ".join(found["warnings"])


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.stem)
def test_parsing_again_makes_no_new_version(file: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    result = check_dag_file_stability(file)
    assert result.check_level.value != "off"
    assert result.format_warnings() is None
    first, second = (
        {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in DagBag(file).dags.items()} for _ in range(2)
    )
    assert first == second


def ruff(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [
        str(Path(sys.executable).with_name("ruff")),
        "check",
        "--no-cache",
        "--select",
        "AIR3,TID253",
        *arguments,
    ]
    return subprocess.run(command, cwd=PROJECT, input=stdin, capture_output=True, text=True)


def test_no_deprecated_airflow_and_no_banned_import() -> None:
    done = ruff("dags", "plugins")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line", ["import tensorflow", "from airflow.datasets import Dataset; Dataset('x')"])
@pytest.mark.parametrize("folder", ["dags", "plugins"])
def test_ruff_refuses_them_there(folder: str, line: str) -> None:
    done = ruff("--stdin-filename", f"{folder}/heavy.py", "-", stdin=f"{line}\n")
    assert done.returncode == 1, done.stdout + done.stderr


# --- Every DAG ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=sorted(DAG_IDS))
def each_dag(request: pytest.FixtureRequest, bag: DagBag) -> Any:
    """Return a DAG; Airflow's own types allow None and mapped tasks wherever this project has neither."""
    return bag.dags[request.param]


def test_a_dag_runs_once_at_a_time_from_a_fixed_date(each_dag: Any) -> None:
    assert each_dag.max_active_runs == 1
    assert each_dag.catchup is False
    assert each_dag.start_date is not None
    assert each_dag.start_date.utcoffset() == timedelta(0)
    assert each_dag.start_date < datetime(2026, 2, 1, tzinfo=UTC)


def test_the_nightly_dag_alone_waits_to_be_switched_on(each_dag: Any) -> None:
    is_paused = each_dag.is_paused_upon_creation is not False
    assert is_paused == (each_dag.dag_id == "skin_lesion_retrain")


def test_as_many_shards_run_at_once_as_there_may_be(each_dag: Any) -> None:
    if "shards" in each_dag.params:
        assert each_dag.max_active_tasks == each_dag.params.get_param("shards").schema["maximum"]


def test_a_dag_says_what_it_is_for_and_what_to_do_when_it_fails(each_dag: Any) -> None:
    assert each_dag.tags
    assert each_dag.doc_md is not None
    for word in ("When a task fails", "DataError", "clear", "Owner", "not a medical device"):
        assert word in each_dag.doc_md


def test_a_dag_tells_when_it_fails_or_is_late(each_dag: Any) -> None:
    assert each_dag.on_failure_callback.__name__ == "run_failed"
    (deadline,) = each_dag.deadline
    assert deadline.callback.path == "skin_lesion_notices.deadline_missed"
    assert timedelta(hours=1) < deadline.interval < timedelta(days=1)


def test_no_default_argument_is_misspelt(each_dag: Any) -> None:
    from airflow.sdk import BaseOperator

    known = set(inspect.signature(BaseOperator.__init__).parameters)
    assert set(each_dag.default_args) <= known


def test_every_task_is_bounded_retried_owned_and_documented(each_dag: Any) -> None:
    for task in each_dag.tasks:
        assert task.retries >= 1, task.task_id
        assert timedelta(0) < task.retry_delay < task.max_retry_delay, task.task_id
        assert task.retry_exponential_backoff > 1, task.task_id
        assert timedelta(0) < task.execution_timeout <= timedelta(hours=6), task.task_id
        assert task.pool == "default_pool", task.task_id
        assert task.owner == "skin-lesion-team", task.task_id
        assert task.doc_md, task.task_id


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (DataError("the column dx is missing"), "fail"),
        (LeakError("a lesion on both sides"), "fail"),
        (OSError(28, "No space left on device"), "retry"),
        (ConnectionResetError(), "retry"),
        (TimeoutError(), "retry"),
        (RuntimeError("of TensorFlow"), "default"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_wrong_data_fails_at_once_and_the_rest_is_retried(each_dag: Any, error: Exception, action: str) -> None:
    for task in each_dag.tasks:
        decision = task.retry_policy.evaluate(error, try_number=1, max_tries=task.retries)
        assert decision.action.value == action, task.task_id


def test_a_dag_survives_serialisation(each_dag: Any) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    data = json.loads(json.dumps(DagSerialization.to_dict(each_dag)))
    DagSerialization.validate_schema(data)
    restored = DagSerialization.from_dict(data)
    assert graph(restored) == graph(each_dag)
    assert restored.params.dump() == each_dag.params.dump()
    assert restored.doc_md == each_dag.doc_md
    assert restored.has_on_failure_callback
    assert len(restored.deadline or []) == len(each_dag.deadline)
    for task in each_dag.tasks:
        again = restored.get_task(task.task_id)
        assert again.has_retry_policy
        for name in ("retries", "retry_delay", "max_retry_delay", "execution_timeout", "pool", "owner", "doc_md"):
            assert getattr(again, name) == getattr(task, name), (task.task_id, name)


def graph(dag: Any) -> dict[str, set[str]]:
    return {task.task_id: set(task.downstream_task_ids) for task in dag.tasks}


# --- skin_lesion_retrain --------------------------------------------------------------------------------------------


def test_the_tasks_are_the_stages_in_their_order(retrain: Any) -> None:
    assert graph(retrain) == {
        # The next stage, and those that are mapped over its shards
        "collect": {"examine", "resize", "augment", "embed"},
        "examine": {"ingest"},
        "ingest": {"resize"},
        "resize": {"augment"},
        "augment": {"organize"},
        "organize": {"build"},
        "build": {"embed"},
        "embed": {"train"},
        "train": {"evaluate"},
        "evaluate": set(),
    }
    assert [task.task_id for task in retrain.topological_sort()] == list(NIGHTLY)


def test_the_stages_that_take_a_shard_are_mapped(retrain: Any) -> None:
    assert {task.task_id for task in retrain.tasks if task.is_mapped} == SHARDED


def test_it_runs_at_two_every_night_utc(retrain: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import TimeRestriction

    timetable = coerce_to_core_timetable(retrain.timetable)
    every_night = TimeRestriction(earliest=retrain.start_date, latest=None, catchup=True)
    first: Any = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=every_night)
    assert first.run_after == datetime(2026, 1, 1, 2, tzinfo=UTC)
    # A night on which clocks change in many places
    summer = first.data_interval.__class__.exact(first.run_after.replace(month=3, day=28))
    following: Any = timetable.next_dagrun_info(last_automated_data_interval=summer, restriction=every_night)
    assert following.run_after == datetime(2026, 3, 29, 2, tzinfo=UTC)


def test_training_may_take_longest(retrain: Any) -> None:
    longest = max(retrain.tasks, key=lambda task: task.execution_timeout)
    assert longest.task_id == "train"


def test_training_alone_has_a_queue_of_its_own(retrain: Any) -> None:
    assert {task.task_id: task.queue for task in retrain.tasks if task.queue != "default"} == {"train": "training"}


def test_training_alone_takes_the_pool_that_was_made_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("SKIN_LESION_TRAINING_POOL", "training")
    monkeypatch.delitem(sys.modules, "skin_lesion_dag_settings")
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], known_pools={"default_pool", "training"})
    tasks = bag.dags["skin_lesion_retrain"].tasks
    assert {task.task_id: task.pool for task in tasks if task.pool != "default_pool"} == {"train": "training"}


def test_it_says_what_it_makes(retrain: Any) -> None:
    made = {task.task_id: [asset.name for asset in task.outlets] for task in retrain.tasks if task.outlets}
    assert made == {"ingest": ["skin_lesion_catalog"], "evaluate": ["skin_lesion_candidate"]}


# --- skin_lesion_promote --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def promote(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_promote"]


def test_promotion_waits_between_the_gate_and_the_switch_alone(promote: DAG) -> None:
    assert graph(promote) == {
        "gate": {"log_candidate", "approval", "switch"},
        "log_candidate": set(),
        "approval": {"switch"},
        "switch": {"conclude"},
        "conclude": {"log_outcome"},
        "log_outcome": set(),
    }


def test_a_candidate_causes_a_promotion(promote: DAG, retrain: Any) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    condition = coerce_to_core_timetable(promote.timetable).asset_condition
    (asset,) = [asset for _, asset in condition.iter_assets()]
    assert (
        [outlet.name for outlet in retrain.task_dict["evaluate"].outlets] == [asset.name] == ["skin_lesion_candidate"]
    )


def test_no_answer_means_no(promote: DAG) -> None:
    approval: Any = promote.task_dict["approval"]
    assert approval.defaults == ["Reject"]
    assert approval.response_timeout == timedelta(hours=PipelineConfig().approval_hours)


@pytest.mark.parametrize(("version", "is_accepted"), [(None, True), (1, True), (0, False), (1.5, False), ("1", False)])
def test_a_version_to_judge_is_a_number_from_one_on(promote: DAG, version: Any, is_accepted: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    field = promote.params.get_param("version")
    if is_accepted:
        assert field.resolve(version) == version
        return
    with pytest.raises(ParamValidationError):
        field.resolve(version)


def test_nothing_waits_in_the_nightly_dag(retrain: Any) -> None:
    assert {task.operator_name for task in retrain.tasks} == {"@task"}


# --- skin_lesion_predict --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def predict(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_predict"]


def test_a_prediction_is_planned_once_shared_and_put_together(predict: DAG) -> None:
    assert graph(predict) == {"plan": {"predict"}, "predict": {"merge"}, "merge": set()}
    assert {task.task_id for task in predict.tasks if task.is_mapped} == {"predict"}


def test_a_prediction_runs_by_hand_alone(predict: DAG) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    assert coerce_to_core_timetable(predict.timetable).can_be_scheduled is False


def test_the_form_of_a_prediction_asks_for_the_images_and_never_for_the_folder_of_the_table(predict: DAG) -> None:
    assert set(predict.params) == {"images", "table", *OF_A_PREDICTION}
    assert "dataset" not in predict.params
    assert copy.deepcopy(predict.params.get_param("images")).resolve("/data") == "/data"


@pytest.mark.parametrize("folder", ["..", "../other", "dataset/../../other", "/data/..", "dataset/\0", "a\nb", "", 3])
def test_no_folder_of_images_leads_upwards(folder: Any, predict: DAG) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        copy.deepcopy(predict.params.get_param("images")).resolve(folder)


@pytest.mark.parametrize("folder", ["dataset/to_predict", "/data/a..b/c", "..a", "x.."])
def test_a_folder_of_images_may_have_dots_in_its_name(folder: str, predict: DAG) -> None:
    assert copy.deepcopy(predict.params.get_param("images")).resolve(folder) == folder


def test_every_field_has_a_default_so_that_a_failure_can_be_told(each_dag: Any) -> None:
    for name in each_dag.params:
        copy.deepcopy(each_dag.params.get_param(name)).resolve()


@pytest.mark.parametrize("name", OF_A_PREDICTION)
def test_the_form_of_a_prediction_has_the_settings_as_they_are(name: str, predict: DAG) -> None:
    assert predict.params.get_param(name).schema["title"] == PipelineConfig.model_fields[name].title
    assert copy.deepcopy(predict.params.get_param(name)).resolve() == json.loads(
        PipelineConfig().model_dump_json()
    ).get(name)


@pytest.mark.parametrize("name", ["found.csv", "2026-11_x.parquet"])
def test_a_table_has_a_plain_name(name: str, predict: DAG) -> None:
    assert copy.deepcopy(predict.params.get_param("table")).resolve(name) == name


@pytest.mark.parametrize("name", ["../found.csv", "/tmp/found.csv", "a/b.csv", ".csv", "found.xlsx", "", None])
def test_a_name_that_leads_elsewhere_is_refused_by_the_form(name: Any, predict: DAG) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        copy.deepcopy(predict.params.get_param("table")).resolve(name)


# --- Their forms ----------------------------------------------------------------------------------------------------


@pytest.fixture
def field(retrain: Any, promote: DAG) -> Callable[[str], Any]:
    """Give a field of the form, apart from the DAG's: to resolve a value sets it."""
    return lambda name: copy.deepcopy(
        (promote if name in PromotionSettings.own_fields() else retrain).params.get_param(name)
    )


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


def test_every_field_has_a_title_and_a_text(each_dag: Any) -> None:
    for name in each_dag.params:
        field = each_dag.params.get_param(name)
        assert field.schema["title"], name
        assert field.description.endswith("."), name
        assert "`" not in field.description, name


def test_a_dozen_fields_stand_first_and_the_rest_is_closed(each_dag: Any) -> None:
    sections = [each_dag.params.get_param(name).schema.get("section") for name in each_dag.params]
    first = sections.index(next(section for section in sections if section))
    assert first <= 12
    assert all(section and section.startswith("Advanced: ") for section in sections[first:])
    assert sections[first:] == sorted(sections[first:], key=sections.index)  # no section comes twice


def test_no_form_asks_for_a_place(each_dag: Any) -> None:
    assert PLACES.isdisjoint(each_dag.params)


@pytest.mark.parametrize("place", PLACES_ELSEWHERE)
def test_no_field_takes_a_path_or_an_address(each_dag: Any, place: str) -> None:
    """Lost otherwise: a run that anybody may trigger moved files out of the models folder and read file:///other."""
    from airflow.sdk.exceptions import ParamValidationError

    # What the ISIC Archive is asked for goes to the installation's address; of the images, the first task refuses.
    for name in set(each_dag.params) - {"isic_query", "images"}:
        with pytest.raises(ParamValidationError):
            copy.deepcopy(each_dag.params.get_param(name)).resolve(place)


def test_the_form_offers_the_file_of_weights_that_the_installation_names(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    from skin_lesion_dag_settings import trigger_form

    monkeypatch.setenv("SKINLESION_WEIGHTS", "/data/mobilenet.h5")
    assert trigger_form(["weights"])["weights"].resolve() == "/data/mobilenet.h5"
    for own in ("imagenet", "/data/mobilenet.h5"):
        assert trigger_form(["weights"])["weights"].resolve(own) == own
    with pytest.raises(ParamValidationError):
        trigger_form(["weights"])["weights"].resolve("/data/other.h5")


def test_the_forms_have_nothing_else(retrain: Any, promote: DAG) -> None:
    assert set(retrain.params) | set(PromotionSettings.own_fields()) == set(IN_A_FORM)
    assert set(retrain.params).isdisjoint(PromotionSettings.own_fields())
    assert set(promote.params) == {"version", *PromotionSettings.own_fields(), "workers"}


@pytest.mark.parametrize(("version", "is_taken"), [(None, True), (1, True), (0, False), ("1", False), (1.5, False)])
def test_a_version_is_a_number_from_one_on_or_none(promote: DAG, version: Any, is_taken: bool) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = copy.deepcopy(promote.params.get_param("version"))
    if is_taken:
        assert param.resolve(version) == version
    else:
        with pytest.raises(ParamValidationError):
            param.resolve(version)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_form_and_settings_refuse_the_same(name: str, value: Any, field: Callable[[str], Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    if name in IN_A_FORM:
        with pytest.raises(ParamValidationError):
            field(name).resolve(value)
    with pytest.raises(DataError, match=name):
        PipelineConfig.of({name: value})


@pytest.mark.parametrize(("name", "value"), ACCEPTED)
def test_form_and_settings_accept_the_same(name: str, value: Any, field: Callable[[str], Any]) -> None:
    if name in IN_A_FORM and not str(value).startswith("/"):
        assert field(name).resolve(value) == value
    PipelineConfig.of({name: value})
