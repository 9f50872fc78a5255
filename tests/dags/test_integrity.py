"""What every DAG of this project keeps to, and what each of them is."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.dags.conftest import DAG_IDS

from skinlesion.foundation.errors import DataError, LeakError
from skinlesion.stages.pipeline import NIGHTLY, SHARDED
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

PROJECT = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((PROJECT / "dags").glob("*.py"))

HEAVY = {
    "tensorflow", "keras", "cv2", "pandas", "numpy", "Augmentor", "mlflow", "sklearn", "scipy", "matplotlib",
    "ai_edge_litert", "PIL", "pyarrow", "simplejpeg", "rich", "typer",
}  # fmt: skip
"""Nothing of these may load in the parent of a task's process."""

# --- Parsing --------------------------------------------------------------------------------------------------------


def test_every_file_in_dags_parses_and_every_task_is_in_a_pool_that_exists(bag: DagBag) -> None:
    assert set(bag.dags) == DAG_IDS
    assert bag.dag_warnings == set()


HEAVY_DAG = """
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


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what parsing took, of each DAG file and of `HEAVY_DAG`, by name: each in a fresh process."""
    folder = tmp_path_factory.mktemp("parsed")
    (folder / "heavy.py").write_text(HEAVY_DAG)
    files = [*map(str, DAG_FILES), str(folder / "heavy.py")]
    script = str(Path(__file__).with_name("parse_dag.py"))
    command = [sys.executable, "-W", "error::DeprecationWarning", script, str(folder), *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


@pytest.mark.parametrize("file", [file.stem for file in DAG_FILES])
def test_parsing_is_light_and_touches_nothing(parsed: dict[str, dict[str, Any]], file: str) -> None:
    found = parsed[file]
    assert found["import_errors"] == []
    assert found["warnings"] == []
    assert found["dags"] != []
    assert HEAVY.isdisjoint(found["imported"])
    assert found["touched"] == []


def test_the_check_of_parsing_sees_what_it_should(parsed: dict[str, dict[str, Any]]) -> None:
    found = parsed["heavy"]
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
    program = Path(sys.executable).with_name("ruff")
    command: list[str | Path] = [program, "check", "--no-cache", "--select", "AIR3,TID253", *arguments]
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


def test_a_dag_runs_once_at_a_time_from_a_fixed_date(each_dag: Any) -> None:
    assert each_dag.max_active_runs == 1
    assert each_dag.catchup is False
    assert each_dag.start_date.utcoffset() == timedelta(0)
    assert each_dag.start_date < datetime(2026, 2, 1, tzinfo=UTC)


def test_the_dags_with_a_timetable_alone_wait_to_be_switched_on(each_dag: Any) -> None:
    is_paused = each_dag.is_paused_upon_creation is not False
    assert is_paused == (each_dag.dag_id in ("skin_lesion_retrain", "skin_lesion_monitor"))


def test_as_many_shards_run_at_once_as_there_may_be(each_dag: Any) -> None:
    if "shards" in each_dag.params:
        assert each_dag.max_active_tasks == each_dag.params.get_param("shards").schema["maximum"]


def test_a_dag_says_what_it_is_for_and_what_to_do_when_it_fails(each_dag: Any) -> None:
    assert each_dag.tags
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
        "evaluate": {"review"},
        "review": set(),
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


def test_promotion_waits_between_the_gate_and_the_switch_alone(promote: DAG) -> None:
    assert graph(promote) == {
        "gate": {"log_candidate", "approval", "switch"},
        "log_candidate": set(),
        "approval": {"switch"},
        "switch": {"conclude"},
        "conclude": {"log_outcome"},
        "log_outcome": set(),
    }


def test_a_candidate_causes_a_promotion(promote: DAG) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    condition = coerce_to_core_timetable(promote.timetable).asset_condition
    assert [asset.name for _, asset in condition.iter_assets()] == ["skin_lesion_candidate"]


def test_no_answer_means_no(promote: DAG) -> None:
    approval: Any = promote.task_dict["approval"]
    assert approval.defaults == ["Reject"]
    assert approval.response_timeout == timedelta(hours=PipelineConfig().approval_hours)


def test_nothing_waits_in_the_nightly_dag(retrain: Any) -> None:
    assert {task.operator_name for task in retrain.tasks} == {"@task", "@task.short_circuit"}


# --- skin_lesion_predict --------------------------------------------------------------------------------------------


def test_a_prediction_is_planned_once_shared_and_put_together(predict: DAG) -> None:
    assert graph(predict) == {"plan": {"predict"}, "predict": {"merge"}, "merge": set()}
    assert {task.task_id for task in predict.tasks if task.is_mapped} == {"predict"}


def test_a_prediction_runs_by_hand_alone(predict: DAG) -> None:
    from airflow.serialization.encoders import coerce_to_core_timetable

    assert coerce_to_core_timetable(predict.timetable).can_be_scheduled is False
