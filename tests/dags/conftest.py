from __future__ import annotations

import os
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
