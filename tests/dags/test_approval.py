"""What becomes of a person's answer, and of none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.registry.trained import trained

from skin_lesion_dag_settings import CANDIDATE
from skinlesion.promotion import decide
from skinlesion.promotion.decide import Judgement
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

AT = datetime(2026, 7, 1, 8, 30, tzinfo=UTC)
ANN = {"id": "7", "name": "ann"}
BY_HAND = "manual__2026-11-25T14:20:46.2+00:00"


class TaskInstance:
    """Keeps what is pushed, and gives it to whoever pulls."""

    map_index = -1

    def __init__(self, version: int, **changed: Any) -> None:
        judgement = {
            "version": version, "run": "one", "next": "switch", "judged_now": True, "passed": True, "against": None,
            "sentence": "It passes.",
        }  # fmt: skip
        self.kept: dict[tuple[str, str], Any] = {("gate", "judgement"): judgement | changed}

    def xcom_push(self, key: str, value: Any) -> None:
        self.kept["approval", key] = json.loads(json.dumps(value))

    def xcom_pull(self, task: str, key: str = "return_value") -> Any:
        return self.kept.get((task, key))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Version 1, which passed and waits."""
    register(tmp_path, trained(tmp_path, "one"))
    return tmp_path


@pytest.fixture
def tasks_in(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that gives promotion's tasks, by name, as they are in a run of this context."""

    def tasks(models: Path | None = None, **context: Any) -> Any:
        dag = bag.dags["skin_lesion_promote"]
        run = SimpleNamespace(dag_id=dag.dag_id, run_id="manual__1", conf={})
        given = {"dag": dag, "dag_run": run, "params": dag.params.dump(), "triggering_asset_events": {}} | context
        found: Any = dag.task_dict
        names = found["gate"].python_callable.__globals__
        monkeypatch.setitem(names, "get_current_context", lambda: given)
        if models is not None:
            config = PipelineConfig.of({"models": models, "require_approval": False})
            monkeypatch.setitem(names, "settings", lambda: config)
        return found

    return tasks


@pytest.fixture
def answered(tasks_in: Callable[..., Any], models: Path) -> Any:
    """Return the registry after an answer and the tasks that follow it."""

    def answer(chosen: str, user: dict[str, str] | None) -> Registry:
        from airflow.sdk.exceptions import DownstreamTasksSkipped

        ti = TaskInstance(1)
        cause = SimpleNamespace(source_run_id="scheduled__2026-06-30T02:00:00+00:00")
        tasks = tasks_in(models, ti=ti, triggering_asset_events={CANDIDATE: [cause]})
        event = {"chosen_options": [chosen], "params_input": {}, "responded_at": AT, "responded_by_user": user}
        try:
            tasks["approval"].execute_complete({"ti": ti, "task": tasks["approval"]}, event)
        except DownstreamTasksSkipped as skipped:
            assert [task if isinstance(task, str) else task[0] for task in skipped.tasks] == ["switch"]
        else:
            ti.kept["switch", "return_value"] = tasks["switch"].python_callable()
        for _ in range(2):  # as after a retry
            tasks["conclude"].python_callable()
        return Registry.read(models)

    return answer


def test_a_yes_puts_the_version_in_service_and_is_in_the_history(answered: Any) -> None:
    registry = answered("Approve", ANN)
    assert registry.champion.number == 1
    promoted, approved = registry.history
    assert (approved.what, approved.actor, approved.at) == ("approved", "ann", "2026-07-01T08:30:00+00:00")
    assert approved.reason == "Asked by the nightly run of 2026-06-30"
    assert (promoted.what, promoted.actor) == ("promoted", "ann")
    assert promoted.reason == "It passed the gate, and ann approved"


@pytest.mark.parametrize(
    ("user", "actor", "reason"),
    [
        (ANN, "ann", "Asked by the nightly run of 2026-06-30"),
        (None, "nobody", "Nobody answered the nightly run of 2026-06-30 in time"),
    ],
)
def test_a_no_is_in_the_history_once_and_stands_and_no_answer_means_no(
    answered: Any, user: dict[str, str] | None, actor: str, reason: str
) -> None:
    registry = answered("Reject", user)
    assert registry.in_service is None
    (declined,) = registry.history
    assert (declined.what, declined.actor, declined.reason) == ("declined", actor, reason)
    assert declined.at == "2026-07-01T08:30:00+00:00"
    assert registry.version(1).state == "rejected"


@pytest.mark.parametrize("needs_person", [True, False])
def test_a_version_outside_the_change_plan_is_asked_about_whatever_the_settings_say(
    tasks_in: Callable[..., Any], models: Path, monkeypatch: pytest.MonkeyPatch, needs_person: bool
) -> None:
    ti = TaskInstance(1, needs_person=needs_person)
    judgement = Judgement.model_validate(ti.kept["gate", "judgement"])
    monkeypatch.setattr(decide, "judge_once", lambda *_, **__: judgement)
    gate = tasks_in(models, ti=ti, params={"version": 1})["gate"]
    assert gate.python_callable() == ["log_candidate", "approval" if needs_person else "switch"]


def test_a_version_that_needs_a_person_is_not_switched_where_the_approval_was_only_marked_as_done(
    tasks_in: Callable[..., Any], models: Path
) -> None:
    answer = tasks_in(models, ti=TaskInstance(1, needs_person=True))["switch"].python_callable()
    assert not answer["promoted"]
    assert "Nobody approved, and a person must." in answer["why"]
    assert Registry.read(models).in_service is None


def test_an_event_of_the_candidate_chooses_no_folder(tasks_in: Callable[..., Any], tmp_path: Path) -> None:
    """Lost otherwise: who may make an event of an asset over the API has promotion work in any folder of the worker."""
    event = SimpleNamespace(source_run_id=None, extra={"dataset": str(tmp_path), "models": str(tmp_path)})
    gate = tasks_in(triggering_asset_events={CANDIDATE: [event]})["gate"]
    found = gate.python_callable.__globals__["settings"]()
    assert (found.dataset, found.models) == (PipelineConfig.of({}).dataset, PipelineConfig.of({}).models)


def test_the_run_says_how_long_it_waits(bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.standard.operators.hitl import ApprovalOperator

    monkeypatch.setattr(ApprovalOperator, "execute", lambda self, context: self.response_timeout)
    approval: Any = copy.copy(bag.dags["skin_lesion_promote"].task_dict["approval"])
    assert approval.execute({"params": {"approval_hours": 0.5}}) == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("run_id", "user", "events", "words"),
    [
        ("asset_triggered__1", None, ["scheduled__2026-11-25T02:00:00+00:00"], "the nightly run of 2026-11-25"),
        ("asset_triggered__1", None, [BY_HAND], "a run started by hand on 2026-11-25 14:20 UTC"),
        (BY_HAND, "ada", [], "a run that ada started on 2026-11-25 14:20 UTC"),
    ],
)
def test_the_history_names_the_night_or_who_started_the_run(
    tasks_in: Callable[..., Any], run_id: str, user: str | None, events: list[str], words: str
) -> None:
    run = SimpleNamespace(dag_id="skin_lesion_promote", run_id=run_id, triggering_user_name=user)
    caused_by = {CANDIDATE: [SimpleNamespace(source_run_id=one) for one in events]}
    gate = tasks_in(dag_run=run, triggering_asset_events=caused_by)["gate"]
    assert gate.python_callable.__globals__["this_run"]() == words
