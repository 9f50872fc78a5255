"""What people are told, with the contexts that Airflow 3.3 gives; a notice that raises tells nobody anything."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skin_lesion_notices import deadline_missed, run_failed

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
RUN, DAG = "scheduled__2026-07-01T02:00:00+00:00", "skin_lesion_retrain"


class DatabaseRun:
    """A run whose database session is closed: all but its own columns raises."""

    run_id, dag_id = RUN, DAG

    def get_task_instances(self) -> list[Any]:
        raise RuntimeError("not bound to a session")


FAILED = {
    "with the task's context": (
        {
            "dag": SimpleNamespace(dag_id=DAG),
            "dag_run": SimpleNamespace(run_id=RUN, dag_id=DAG),
            "run_id": RUN,
            "ti": SimpleNamespace(task_id="embed", map_index=2),
            "reason": "task_failure",
        },
        f"Run {RUN} of {DAG} failed in embed (task_failure). ",
    ),
    "without a task": (
        {"dag": SimpleNamespace(dag_id=DAG), "run_id": RUN, "reason": "timed_out"},
        f"Run {RUN} of {DAG} failed (timed_out). ",
    ),
    "with the run as a record": (
        {"dag_run": SimpleNamespace(run_id=RUN, dag_id=DAG)},
        f"Run {RUN} of {DAG} failed. ",
    ),
    "with the database's run": ({"dag_run": DatabaseRun(), "ti": None}, f"Run {RUN} of {DAG} failed. "),
    "with nothing": ({}, "Run (unknown) of (unknown) failed. "),
    "with no run": ({"dag": None, "dag_run": None, "run_id": None}, "Run (unknown) of (unknown) failed. "),
}

LATE = {
    "as the executor calls it": (
        {
            "context": {
                "dag_run": {"dag_run_id": RUN, "dag_id": DAG, "state": "running", "logical_date": None, "conf": {}},
                "deadline": {"id": "01a20adf-f86f-7f49-a2b7-3c0af358b291", "deadline_time": "2026-07-01T10:00:00Z"},
            }
        },
        f"Run {RUN} of {DAG} is late: ",
    ),
    "with an empty context": ({"context": {}}, "Run (unknown) of (unknown) is late: "),
    "without a run": ({"context": {"dag_run": None}}, "Run (unknown) of (unknown) is late: "),
    "without a context": ({}, "Run (unknown) of (unknown) is late: "),
}


def only_sentence(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    return record.getMessage()


@pytest.mark.parametrize(("context", "begins"), FAILED.values(), ids=FAILED)
def test_a_failed_run_is_named_with_what_to_do(
    context: dict[str, Any], begins: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_failed(context)
    sentence = only_sentence(caplog)
    assert sentence.startswith(begins)
    assert "clear the failed task" in sentence
    assert "The model in service has not changed" in sentence


@pytest.mark.parametrize(("arguments", "begins"), LATE.values(), ids=LATE)
def test_a_late_run_is_named_with_what_to_do(
    arguments: dict[str, Any], begins: str, caplog: pytest.LogCaptureFixture
) -> None:
    deadline_missed(**arguments)
    sentence = only_sentence(caplog)
    assert sentence.startswith(begins)
    assert "log" in sentence


def test_the_executor_finds_the_callback_of_the_deadline_by_its_path() -> None:
    # Airflow alone puts plugins/ on the path there, as it does in the executor's process.
    script = (
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "import airflow.settings\n"
        "from airflow.sdk.execution_time.callback_supervisor import execute_callback, log\n"
        f"context = {{'dag_run': {{'dag_run_id': {RUN!r}, 'dag_id': {DAG!r}}}, 'deadline': {{'id': '1'}}}}\n"
        "path = 'skin_lesion_notices.deadline_missed'\n"
        "print('outcome:', execute_callback(path, {'context': context}, 'skin_lesion_retrain.py', None, log))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "outcome: (True, None)" in done.stdout, done.stdout + done.stderr
    assert f"Run {RUN} of {DAG} is late" in done.stdout + done.stderr


def test_the_notices_load_nothing_heavy() -> None:
    # A plugin loads in the parents of all task processes.
    script = "import sys; import skin_lesion_notices; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PLUGINS)
    assert done.returncode == 0, done.stderr
    assert {"tensorflow", "keras", "cv2", "pandas", "numpy", "skinlesion", "airflow"}.isdisjoint(done.stdout.split())
