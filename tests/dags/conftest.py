from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

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
def airflow_database() -> Path:
    """The database, at the installed Airflow's version."""
    airflow = Path(sys.executable).with_name("airflow")
    done = subprocess.run([airflow, "db", "migrate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(os.environ["AIRFLOW_HOME"]) / "airflow.db"
