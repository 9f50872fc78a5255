"""Runs of this project's DAGs in this process, as `make run` shows them: real runs in Airflow's database, without a scheduler."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tools.failure import RunFailed

from skinlesion.command_line.display import Display
from skinlesion.foundation.stage_report import StageReport
from skinlesion.registry.history import this_user
from skinlesion.stages.pipeline import NIGHTLY
from skinlesion.stages.sentences import sentence
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

RETRAIN, PROMOTE = "skin_lesion_retrain", "skin_lesion_promote"


def report_of(values: Mapping[str, Any]) -> StageReport:
    """Return the report that `StageReport.as_dict` gave; what was added to the dictionary is among its details."""
    counts = {name: values[name] for name in StageReport.model_fields if name in values}
    return StageReport.model_validate(counts | {"details": {k: v for k, v in values.items() if k not in counts}})


class Runs:
    """Runs DAGs in this process, and shows their tasks.

    Attributes:
        candidate: name of the candidate that the retraining left.
        version: its number.
        judgement: what the gate said of it, in words.
        waits: whether it passed and waits for a person.
        error: what ended the task that failed last.
    """

    def __init__(self, display: Display, config: PipelineConfig) -> None:
        from airflow import settings
        from airflow.dag_processing.dagbag import DagBag
        from airflow.models.dagrun import DagRun
        from airflow.sdk.listener import get_listener_manager
        from sqlalchemy import event

        self.candidate, self.version = "", 0
        self.judgement = f"not asked, since {PROMOTE} is paused in Airflow"
        self.waits = False
        self.error: BaseException | str | None = None
        self._display, self._shards = display, config.shards
        bag = DagBag(settings.DAGS_FOLDER)
        if bag.import_errors:
            raise RunFailed("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
        self._dags: dict[str, DAG] = bag.dags
        event.listen(DagRun, "before_insert", _name_person)
        get_listener_manager().add_listener(self._listener())  # type: ignore[no-untyped-call]
        package = logging.getLogger("skinlesion")
        package.addHandler(display)
        package.setLevel(logging.INFO)

    def run(self, dag_id: str, settings: dict[str, str]) -> None:
        """Run a DAG once. Raises what ended it."""
        dag = self._dags[dag_id]
        dag.deadline = None  # dag.test() ends in an error for a DAG with a deadline (apache/airflow#73428)
        for task in dag.tasks:
            task.retries = 0  # a person is here: the cause is told at once
        if approval := dag.task_dict.get("approval"):
            approval.execute = self._leave_to_a_person  # type: ignore[method-assign, union-attr]
        self._display.begin("airflow")  # it writes the DAGs to its database before the first task begins
        try:
            state = dag.test(run_conf=settings).state
        except BaseException:
            end_unfinished(dag_id)
            raise
        if isinstance(self.error, BaseException):
            raise self.error
        if state != "success":
            raise RunFailed(str(self.error or f"The run of {dag_id} did not succeed"))

    def _leave_to_a_person(self, context: Any) -> None:
        """Stand in for the operator that waits for an answer: nobody could give it one, since no server runs."""
        from airflow.sdk.exceptions import DownstreamTasksSkipped

        self.waits = True
        raise DownstreamTasksSkipped(tasks=["switch"])  # type: ignore[no-untyped-call]

    def _listener(self) -> object:
        from airflow.listeners import hookimpl

        runs = self

        class Tasks:
            @hookimpl
            def on_task_instance_running(self, previous_state: Any, task_instance: RuntimeTaskInstance) -> None:
                runs._display.begin(LABELS.get(task_instance.task_id, task_instance.task_id))

            @hookimpl
            def on_task_instance_success(self, previous_state: Any, task_instance: RuntimeTaskInstance) -> None:
                runs._succeeded(task_instance)

            @hookimpl
            def on_task_instance_failed(
                self, previous_state: Any, task_instance: RuntimeTaskInstance, error: BaseException | str | None
            ) -> None:
                runs.error = error
                runs._display.stop()

        return Tasks()

    def _succeeded(self, task: RuntimeTaskInstance) -> None:
        def pull(key: str = "return_value") -> Any:
            return task.xcom_pull(task_ids=task.task_id, key=key, map_indexes=task.map_index)

        if task.task_id in NIGHTLY:
            report = report_of(pull("report" if task.task_id == "collect" else "return_value"))
            index = task.map_index
            shard = (
                f" (shard {index + 1} of {self._shards})" if index is not None and self._shards > 1 <= index + 1 else ""
            )
            self._display.finish_with(f"{sentence(report)}{shard}")
            if task.task_id == "evaluate":
                self.candidate, self.version = str(report.details["run"]), int(str(report.details["version"]))
        elif task.task_id == "gate":
            judgement = pull("judgement")
            self.judgement, self.version, self.candidate = (judgement[key] for key in ("sentence", "version", "run"))
            self._display.finish_with(self.judgement)
        else:
            self._display.finish_with(WORDS[task.task_id](pull()))


def _name_person(mapper: object, connection: object, run: Any) -> None:
    """Name whoever started a run; `dag.test()` would call them `dag_test`."""
    run.triggering_user_name = this_user()


def paused_dags() -> list[str]:
    """Return the names of those of both DAGs that are paused in Airflow."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        paused = select(DagModel.dag_id).where(DagModel.dag_id.in_((RETRAIN, PROMOTE)), DagModel.is_paused)
        return sorted(session.scalars(paused), reverse=True)


LABELS: Final = {"log_candidate": "mlflow", "log_outcome": "mlflow"}
"""What tasks are called whose name is too long or says too little."""


def _mirrored(result: Any) -> str:
    written = result["versions_written"]
    versions = f"version{'s' if len(written) > 1 else ''} {', '.join(map(str, written))}"
    return f"MLflow's copy of the registry has {versions} now." if written else "MLflow was up to date."


def _concluded(result: Any) -> str:
    removed = result["versions_without_files"]
    return (
        f"The files of old versions were removed: {', '.join(map(str, removed))}."
        if removed
        else "The run is concluded."
    )


WORDS: Final[dict[str, Callable[[Any], str]]] = {
    "log_candidate": _mirrored,
    "log_outcome": _mirrored,
    "approval": lambda result: "A person must decide: `require_approval` is set, or it is outside the change plan.",
    "switch": lambda result: "It is in service now." if result["promoted"] else result["why"],
    "conclude": _concluded,
}
"""What each task of the promotion that is no stage did, from its result."""


def end_unfinished(dag_id: str) -> None:
    """Mark runs of a DAG that this program left unfinished as failed: a scheduler would go on with them one day."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType
    from sqlalchemy import select

    with create_session() as session:
        ours = (DagRun.dag_id == dag_id, DagRun.triggered_by == DagRunTriggeredByType.TEST)
        for run in session.scalars(select(DagRun).where(*ours, DagRun.state == DagRunState.RUNNING)):
            for task in run.get_task_instances(session=session):
                if task.state not in ("success", "skipped", "failed", "upstream_failed"):
                    task.state = TaskInstanceState.FAILED
            run.state = DagRunState.FAILED
