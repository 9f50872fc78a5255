"""Run DAGs once with `dag.test()`, each in a process of its own, as a night is one: TensorFlow and Airflow keep state.

A parent process that has imported both, and has done once what Airflow would do again in each process, forks one for each run.
It starts no thread and opens no database, which its children could not share. It reads requests as lines of JSON from
its standard input, {"dag_id": "skin_lesion_retrain", "settings": {...}, "fail_once": "organize", "environment": {...},
"summary": FILE, "log": FILE}, and answers each with a line, the exit status. The fixture `run_dag` in conftest.py starts it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from tests.small_backbone import built_small


class RunDag(Protocol):
    """What the fixture `run_dag` gives."""

    def __call__(
        self,
        dag_id: str,
        settings: dict[str, Any],
        fail_once: str | None = None,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run the DAG once, and return its state, tasks, reports, assets, notices, note, the runs that it started, and log."""


class Notices(logging.Handler):
    """Keeps what people are told."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one sentence."""
        self.sentences.append(record.getMessage())


def run(dag_id: str, settings: dict[str, Any], fail_once: str | None = None) -> dict[str, Any]:
    """Run the DAG; the stage `fail_once` meets a full disk at the end of its first attempt."""
    from airflow import settings as airflow_settings
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(airflow_settings.DAGS_FOLDER, known_pools={"default_pool"})
    dag = bag.dags[dag_id]
    dag.deadline = None  # dag.test() ends in an error for a DAG with a deadline (apache/airflow#73428)
    for task in dag.tasks:
        task.retry_delay = timedelta(seconds=0.1)
    notices = Notices()
    told = logging.getLogger("skin_lesion_notices")
    told.addHandler(notices)
    told.setLevel(logging.INFO)
    if fail_once:
        break_stage(fail_once)
    run = dag.test(run_conf=settings)
    keys: dict[str, list[str]] = {}
    reports: dict[str, list[dict[str, Any]]] = {}
    for task_id, key, value in xcoms(run.run_id):
        keys.setdefault(task_id, []).append(key)
        if isinstance(value, dict):
            reports.setdefault(task_id, []).append(value)
    return {
        "state": run.state,
        "tasks": [
            {"task": ti.task_id, "index": ti.map_index, "state": ti.state, "tries": ti.try_number}
            for ti in sorted(run.get_task_instances(), key=lambda ti: (ti.task_id, ti.map_index))
        ],
        "xcoms": keys,
        "reports": reports,
        "assets": assets(run.run_id),
        "notices": notices.sentences,
        "note": note(run.run_id, run.state),
        "started": started_by(run.run_id),
    }


def break_stage(broken: str) -> None:
    """Let the first attempt at a stage, the switch or a prediction do its work and then meet a full disk."""
    from skinlesion.prediction.prediction_run import PredictionRun
    from skinlesion.promotion import decide as promotion
    from skinlesion.stages import pipeline

    attempts = []

    def breaking(whole: Callable[..., Any], is_concerned: Callable[..., bool]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            result = whole(*args, **kwargs)
            if is_concerned(*args):
                attempts.append(args)
                if len(attempts) == 1:
                    raise OSError(28, "No space left on device")
            return result

        return run

    for owner, name, is_concerned in (
        (pipeline, "run_stage", lambda stage, *_: stage == broken),
        (promotion, "switch_to", lambda *_: broken == "switch_to"),
        (PredictionRun, "predict_shard", lambda *_: broken == "predict_shard"),
    ):
        setattr(owner, name, breaking(getattr(owner, name), is_concerned))


def xcoms(run_id: str) -> list[tuple[str, str, Any]]:
    """Return task, key and value of each XCom, in the order of the shards."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel).where(XComModel.run_id == run_id).order_by(XComModel.map_index, XComModel.key)
    with create_session() as session:
        return [(row.task_id, row.key, XComModel.deserialize_value(row)) for row in session.scalars(query)]


def note(run_id: str, state: str) -> str | None:
    """Return the note that the scheduler makes when a run has ended; `dag.test()` has the run in no session."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from skin_lesion_failure import RunNotes

    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == run_id)).one()
        if state == "failed":
            RunNotes().on_dag_run_failed(run, "task_failure")
        else:
            RunNotes().on_dag_run_success(run, "success")
        found: str | None = run.note
        return found


def started_by(run_id: str) -> list[dict[str, Any]]:
    """Return the runs of other DAGs that the run started."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.scalars(select(DagRun).where(DagRun.run_id.endswith(f"__{run_id}")))
        return [{"dag_id": one.dag_id, "conf": one.conf, "note": one.note} for one in found]


def assets(run_id: str) -> dict[str, dict[str, Any]]:
    """Return what the run said about the assets that it changed."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        events = session.scalars(select(AssetEvent).where(AssetEvent.source_run_id == run_id)).all()
        return {event.asset.name: event.extra for event in events}


def run_in_child(request: dict[str, Any]) -> int:
    """Run the DAG of the request in a process that is forked for it, and return its exit status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        log = os.open(request.pop("log"), os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ |= request.pop("environment")
        summary = Path(request.pop("summary"))
        summary.write_text(json.dumps(run(**request), default=str))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


LATE = (
    "alembic.command",
    "hypothesis.extra.pandas",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "pyarrow.dataset",
    "skinlesion.evaluation.html_report",
    "skinlesion.evaluation.plots",
    "skinlesion.training.calibration",
    "skinlesion.training.fit",
    "sklearn.linear_model",
)
"""What a run imports in the middle of its work, and takes long."""


def warm_up() -> None:
    """Import what runs import, and let Airflow make the routes of its execution API and the DAGs' schemas once."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # as a task sets it before it imports TensorFlow

    import a2wsgi  # noqa: F401
    import anyio._backends._asyncio  # noqa: F401
    import httpx
    import mlflow  # noqa: F401
    import tensorflow  # noqa: F401
    from airflow import settings
    from airflow.dag_processing import collection  # noqa: F401
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time import task_runner  # noqa: F401
    from airflow.sdk.execution_time.supervisor import in_process_api_server
    from airflow.serialization.serialized_objects import DagSerialization
    from sqlalchemy.orm import configure_mappers

    from skinlesion.stages.pipeline import NIGHTLY

    for name in (*(f"skinlesion.stages.{stage}" for stage in (*NIGHTLY, "monitor", "promote")), *LATE):
        import_module(name)

    async def ask() -> None:
        transport = in_process_api_server().atransport
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process.invalid") as client:
            await client.get("/")

    asyncio.run(ask())
    configure_mappers()
    for dag in DagBag(settings.DAGS_FOLDER, known_pools={"default_pool"}).dags.values():
        DagSerialization.to_dict(dag)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Airflow says on the standard output is no answer
    warm_up()
    with built_small():  # how the network learns is no question of a DAG
        for line in sys.stdin:
            sys.stdout.flush()
            answers.write(f"{run_in_child(json.loads(line))}\n")
            answers.flush()
