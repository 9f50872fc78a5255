"""A run with a parameter that its DAG does not have is refused by the API, and fails in its first task otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from skin_lesion_parameters import known_parameters, unknown_parameters
from skinlesion.foundation.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.dag_processing.dagbag import DagBag
    from starlette.testclient import TestClient

DAGS = ("skin_lesion_retrain", "skin_lesion_promote", "skin_lesion_predict")


@pytest.fixture(scope="module")
def bag() -> DagBag:
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"], known_pools={"default_pool"})


@pytest.fixture(scope="module")
def stored_dags(airflow_database: Path, bag: DagBag) -> None:
    """The DAGs as the DAG processor stores them."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]  # Airflow's
    sync_bag_to_db(bag, "dags-folder", None)
    with create_session() as session:
        assert {row.dag_id for row in session.query(DagModel)} >= set(DAGS)


@pytest.fixture
def start(
    stored_dags: None, nobody: TestClient, token_of: Callable[[str], str]
) -> Callable[[str, dict[str, Any]], Any]:
    def post(dag_id: str, conf: dict[str, Any]) -> Any:
        return nobody.post(
            f"/api/v2/dags/{dag_id}/dagRuns",
            json={"logical_date": None, "conf": conf},
            headers={"authorization": f"Bearer {token_of('ada')}"},
        )

    return post


def test_the_api_refuses_a_mistyped_parameter_and_names_the_one_that_was_meant(start: Any) -> None:
    answer = start("skin_lesion_retrain", {"epohcs": 3})
    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "skin_lesion_retrain has no parameter `epohcs`. Did you mean `epochs`? Nothing was done: start another run."
    )


@pytest.mark.parametrize(
    ("dag_id", "name"),
    [
        ("skin_lesion_retrain", "gate_min_auroc"),  # a setting, of the other DAG
        ("skin_lesion_promote", "epochs"),
        ("skin_lesion_predict", "dataset"),
        ("skin_lesion_predict", "zzz"),
    ],
)
def test_a_parameter_of_another_dag_is_refused(start: Any, dag_id: str, name: str) -> None:
    answer = start(dag_id, {name: 1})
    assert answer.status_code == 400
    assert f"{dag_id} has no parameter `{name}`." in answer.json()["detail"]


@pytest.mark.parametrize("dag_id", DAGS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("dataset", "/other"), ("models", "../models"), ("object_store", "file:///other"), ("drop_folder", "/other"),
     ("object_store_endpoint", "http://127.0.0.1:5432"), ("isic_address", "http://127.0.0.1"), ("prediction_folders", "/")],
)  # fmt: skip
def test_a_run_that_names_a_place_is_refused_with_where_the_place_is_set(
    start: Any, dag_id: str, name: str, value: str
) -> None:
    """Lost otherwise: a run moved the candidates' plots out of models/, and asked any address from the worker."""
    answer = start(dag_id, {name: value})
    assert answer.status_code == 400
    detail = answer.json()["detail"]
    assert f"`{name}` belongs to the installation: it is set there, in SKINLESION_{name.upper()}" in detail
    assert value not in detail


def test_a_run_with_parameters_of_the_dag_is_created(start: Any) -> None:
    answer = start("skin_lesion_retrain", {"epochs": 3})
    assert answer.status_code == 200, answer.text
    assert answer.json()["conf"] == {"epochs": 3}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"conf": 3}', b'{"conf": {"epohcs": 3}'])
def test_what_is_no_request_for_a_run_is_left_to_airflow(
    stored_dags: None, nobody: TestClient, token_of: Callable[[str], str], body: bytes
) -> None:
    headers = {"authorization": f"Bearer {token_of('ada')}", "content-type": "application/json"}
    answer = nobody.post("/api/v2/dags/skin_lesion_retrain/dagRuns", content=body, headers=headers)
    assert answer.status_code == 422


def test_every_unknown_parameter_is_named() -> None:
    found = unknown_parameters("some_dag", ["epohcs", "epochs", "zzz"], ["epochs", "seed"])
    assert found.startswith(
        "some_dag has no parameter `epohcs`. Did you mean `epochs`? some_dag has no parameter `zzz`."
    )


@pytest.fixture
def call(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that calls a task of a run with this configuration."""

    def call(dag_id: str, task: str, **conf: Any) -> None:
        dag = bag.dags[dag_id]
        found: Any = dag.task_dict[task]
        run = SimpleNamespace(conf=conf, dag_id=dag_id, run_id="manual__1", run_type="manual")
        params = dict(dag.params.dump()) | conf
        context = {"dag": dag, "dag_run": run, "params": params, "ti": None, "triggering_asset_events": {}}
        monkeypatch.setitem(found.python_callable.__globals__, "get_current_context", lambda: context)
        found.python_callable(*(["1/1"] if found.is_mapped else []))

    return call


@pytest.mark.parametrize(("dag_id", "task"), [*zip(DAGS, ("collect", "gate", "plan"), strict=True)])
def test_the_first_task_of_a_run_with_an_unknown_parameter_fails(
    bag: DagBag, call: Callable[..., None], dag_id: str, task: str
) -> None:
    assert not bag.dags[dag_id].task_dict[task].upstream_task_ids
    with pytest.raises(DataError, match="has no parameter `shard`"):
        call(dag_id, task, shard=3)


def every_task() -> list[tuple[str, str]]:
    tasks = {
        "skin_lesion_retrain": "collect examine ingest resize augment organize build embed train evaluate",
        "skin_lesion_promote": "gate log_candidate switch conclude log_outcome",
        "skin_lesion_predict": "plan predict merge",
    }
    return [(dag_id, task) for dag_id, names in tasks.items() for task in names.split()]


@pytest.mark.parametrize(("dag_id", "task"), every_task())
def test_no_task_works_for_a_run_that_names_a_place(call: Callable[..., None], dag_id: str, task: str) -> None:
    """Lost otherwise: who marks the first task as a success has the others work at the place that the run names."""
    with pytest.raises(DataError, match="`models` belongs to the installation"):
        call(dag_id, task, models="/other")


@pytest.mark.parametrize("conf", [None, {}, {"seed": 1}])
def test_a_run_with_known_parameters_goes_on(conf: dict[str, Any] | None) -> None:
    dag = SimpleNamespace(dag_id="some_dag", params={"seed": 0})
    known_parameters({"dag": dag, "dag_run": SimpleNamespace(conf=conf), "params": {"seed": 0}})  # type: ignore[typeddict-item]
