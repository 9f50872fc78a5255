"""What becomes of a person's answer, and of none."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from tests.training_record import write_training_record

from skin_lesion_dag_settings import CANDIDATE
from skinlesion.foundation import layout
from skinlesion.promotion import decide
from skinlesion.promotion.decide import Judgement
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

AT = datetime(2026, 7, 1, 8, 30, tzinfo=UTC)
ANN = {"id": "7", "name": "ann"}


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
    candidate = Candidate(layout.candidate(tmp_path, "one"))
    candidate.folder.mkdir(parents=True)
    for path in candidate.models:
        path.write_bytes(path.name.encode())
    candidate.decision_rule.write_text("{}")
    write_training_record(candidate)
    register(tmp_path, candidate)
    return tmp_path


@pytest.fixture
def answered(bag: DagBag, models: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the registry after an answer and the tasks that follow it."""

    def answer(chosen: str, user: dict[str, str] | None) -> Registry:
        from airflow.sdk.exceptions import DownstreamTasksSkipped

        dag = bag.dags["skin_lesion_promote"]
        tasks: Any = dag.task_dict
        ti, run = TaskInstance(1), SimpleNamespace(dag_id=dag.dag_id, run_id="asset_triggered__1")
        cause = SimpleNamespace(source_run_id="scheduled__2026-06-30T02:00:00+00:00")
        events = {CANDIDATE: [cause]}
        context = {"ti": ti, "dag_run": run, "task": tasks["approval"], "params": {}, "triggering_asset_events": events}
        names = tasks["conclude"].python_callable.__globals__
        monkeypatch.setitem(names, "get_current_context", lambda: context)
        monkeypatch.setitem(names, "settings", lambda: PipelineConfig.of({"models": models}))
        event = {"chosen_options": [chosen], "params_input": {}, "responded_at": AT, "responded_by_user": user}
        try:
            tasks["approval"].execute_complete(context, event)
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


def test_a_no_is_in_the_history_once_and_stands(answered: Any) -> None:
    registry = answered("Reject", ANN)
    assert registry.in_service is None
    (declined,) = registry.history
    assert (declined.what, declined.actor, declined.at) == ("declined", "ann", "2026-07-01T08:30:00+00:00")
    assert registry.version(1).state == "rejected"


def test_no_answer_means_no(answered: Any, models: Path) -> None:
    registry = answered("Reject", None)
    assert registry.in_service is None
    (declined,) = history.lines(models).all()
    assert (declined.what, declined.actor) == ("declined", "nobody")
    assert declined.reason == "Nobody answered the nightly run of 2026-06-30 in time"


@pytest.mark.parametrize("needs_person", [True, False])
def test_a_version_outside_the_change_plan_is_asked_about_whatever_the_settings_say(
    bag: DagBag, models: Path, monkeypatch: pytest.MonkeyPatch, needs_person: bool
) -> None:
    judgement = Judgement(
        version=1,
        run="one",
        next="switch",
        judged_now=True,
        passed=True,
        against=None,
        needs_person=needs_person,
        sentence="It passes.",
    )
    monkeypatch.setattr(decide, "judge_once", lambda *_, **__: judgement)
    gate: Any = bag.dags["skin_lesion_promote"].task_dict["gate"]
    function = gate.python_callable
    ti, run = TaskInstance(1), SimpleNamespace(dag_id="skin_lesion_promote", run_id="manual__1")
    context = {"ti": ti, "dag_run": run, "params": {"version": 1}, "triggering_asset_events": {}}
    monkeypatch.setitem(function.__globals__, "get_current_context", lambda: context)
    config = PipelineConfig.of({"models": models, "require_approval": False})
    monkeypatch.setitem(function.__globals__, "settings", lambda: config)
    assert function() == ["log_candidate", "approval" if needs_person else "switch"]


def test_a_version_that_needs_a_person_is_not_switched_where_the_approval_was_only_marked_as_done(
    bag: DagBag, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch: Any = bag.dags["skin_lesion_promote"].task_dict["switch"]
    names = switch.python_callable.__globals__
    context = {"ti": TaskInstance(1, needs_person=True), "triggering_asset_events": {}}
    context["dag_run"] = SimpleNamespace(dag_id="skin_lesion_promote", run_id="manual__1")
    monkeypatch.setitem(names, "get_current_context", lambda: context)
    monkeypatch.setitem(names, "settings", lambda: PipelineConfig.of({"models": models}))
    answer = switch.python_callable()
    assert not answer["promoted"]
    assert "Nobody approved, and a person must." in answer["why"]
    assert Registry.read(models).in_service is None


def test_an_event_of_the_candidate_chooses_no_folder(
    bag: DagBag, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Lost otherwise: who may make an event of an asset over the API has promotion work in any folder of the worker."""
    dag = bag.dags["skin_lesion_promote"]
    gate: Any = dag.task_dict["gate"]
    event = SimpleNamespace(source_run_id=None, extra={"dataset": str(tmp_path), "models": str(tmp_path)})
    context = {
        "dag": dag,
        "dag_run": SimpleNamespace(conf={}),
        "params": dag.params.dump(),
        "triggering_asset_events": {CANDIDATE: [event]},
    }
    monkeypatch.setitem(gate.python_callable.__globals__, "get_current_context", lambda: context)
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
        (
            "asset_triggered__1",
            None,
            ["manual__2026-11-25T14:20:46.2+00:00"],
            "a run started by hand on 2026-11-25 14:20 UTC",
        ),
        ("manual__2026-11-25T14:20:46.2+00:00", "ada", [], "a run that ada started on 2026-11-25 14:20 UTC"),
    ],
)
def test_the_history_names_the_night_or_who_started_the_run(
    bag: DagBag, monkeypatch: pytest.MonkeyPatch, run_id: str, user: str | None, events: list[str], words: str
) -> None:
    gate: Any = bag.dags["skin_lesion_promote"].task_dict["gate"]
    names = gate.python_callable.__globals__
    run = SimpleNamespace(dag_id="skin_lesion_promote", run_id=run_id, triggering_user_name=user)
    context = {
        "dag_run": run,
        "triggering_asset_events": {CANDIDATE: [SimpleNamespace(source_run_id=one) for one in events]},
    }
    monkeypatch.setitem(names, "get_current_context", lambda: context)
    assert names["this_run"]() == words
