from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.dags.run_dag import RunDag

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

DAG_IDS = {"skin_lesion_monitor", "skin_lesion_predict", "skin_lesion_promote", "skin_lesion_retrain"}

POOLS = {"default_pool"}
"""The pools that exist: Airflow's own. A DAG that uses another needs it made where the services start."""


@pytest.fixture(scope="session")
def bag() -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], known_pools=POOLS)


@pytest.fixture(scope="session")
def retrain(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_retrain"]


@pytest.fixture(scope="session")
def promote(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_promote"]


@pytest.fixture(scope="session")
def monitor(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_monitor"]


@pytest.fixture(scope="session")
def predict(bag: DagBag) -> DAG:
    return bag.dags["skin_lesion_predict"]


@pytest.fixture(params=sorted(DAG_IDS))
def each_dag(request: pytest.FixtureRequest, bag: DagBag) -> Any:
    """Return a DAG; Airflow's own types allow None and mapped tasks wherever this project has neither."""
    return bag.dags[request.param]


@pytest.fixture(scope="session")
def run_dag(airflow_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDag]:
    """Return a function that runs a DAG once and gives its state, tasks, reports, notices, note and log; see run_dag.py."""
    folder = tmp_path_factory.mktemp("runs")
    command, project = [sys.executable, "-m", "tests.dags.run_dag"], Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def run(
        dag_id: str, settings: dict[str, Any], fail_once: str | None = None, environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        summary, log = folder / "summary.json", folder / "log"
        summary.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
        request = {"dag_id": dag_id, "settings": settings, "fail_once": fail_once, "environment": environment or {}}
        requests.write(json.dumps(request | {"summary": str(summary), "log": str(log)}) + "\n")
        requests.flush()
        status = answers.readline().strip()
        sys.stdout.write(log.read_text())
        assert status == "0", status
        found: dict[str, Any] = json.loads(summary.read_text()) | {"log": log.read_text()}
        return found

    yield run
    process.communicate()
    assert process.returncode == 0
