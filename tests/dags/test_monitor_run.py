"""Runs of skin_lesion_monitor, for real by `dag.test()`, on a log of simulated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.dags.run_dag import RunDag
from tests.evaluation.in_use.logs import InUse, in_use

from skinlesion.evaluation.in_use.record import MonitorRecord
from skinlesion.foundation import layout
from skinlesion.promotion.change_plan.plan import DEFAULT


@pytest.fixture
def darker(tmp_path: Path) -> InUse:
    """Return a log of three weeks in which the pictures are darker and less red than the held-out ones: two alarms."""
    used = in_use(tmp_path)
    for number in range(3):
        used.week(number, brightness=-1, red=-1)
    return used


def places(used: InUse, **more: str) -> dict[str, str]:
    """Return the environment of a run on this log."""
    return {
        "SKINLESION_MODELS": str(used.models),
        "SKINLESION_DATASET": str(used.models.parent / "none"),
        "SKINLESION_PREDICTION_LOG": str(used.folder),
    } | more


def states(run: dict[str, Any]) -> dict[str, str]:
    return {task["task"]: task["state"] for task in run["tasks"]}


def test_an_alarm_is_sent_once_and_the_run_succeeds(run_dag: RunDag, darker: InUse) -> None:
    environment = places(darker)
    first = run_dag("skin_lesion_monitor", {}, None, environment)
    assert first["state"] == "success"
    assert states(first) == {"watch": "success", "is_training_wanted": "success", "retrain": "skipped"}
    (notice,) = first["notices"]
    assert notice.startswith("Brightness lies") and "Red lies" in notice and notice.count("camera") == 1
    assert "600 answers in 3 weeks" in first["log"]
    alarms = MonitorRecord.read(layout.monitored(darker.models)).alarms
    assert [alarm.signal for alarm in alarms] == ["brightness", "red"]
    assert run_dag("skin_lesion_monitor", {}, None, environment)["notices"] == []


def test_an_alarm_starts_one_training_where_the_change_plan_says_so(
    run_dag: RunDag, darker: InUse, tmp_path: Path
) -> None:
    plan = tmp_path / "change_plan.yaml"
    plan.write_text(DEFAULT.read_text().replace("retrain_on_alarm: false", "retrain_on_alarm: true"))
    environment = places(darker, SKINLESION_CHANGE_PLAN=str(plan))
    first = run_dag("skin_lesion_monitor", {}, None, environment)
    assert states(first)["retrain"] == "success"
    (training,) = first["started"]
    assert (training["dag_id"], training["conf"]) == ("skin_lesion_retrain", {"warm_start": False})
    assert "An alarm of the model in use started this run" in training["note"]
    second = run_dag("skin_lesion_monitor", {}, None, environment)
    assert states(second)["retrain"] == "skipped", "the alarm is not new"
    assert second["started"] == []


def test_a_damaged_plan_starts_no_training(run_dag: RunDag, darker: InUse, tmp_path: Path) -> None:
    (tmp_path / "change_plan.yaml").write_text("retrain_on_alarm: [")
    environment = places(darker, SKINLESION_CHANGE_PLAN=str(tmp_path / "change_plan.yaml"))
    found = run_dag("skin_lesion_monitor", {}, None, environment)
    assert (found["state"], states(found)["retrain"]) == ("success", "skipped")
    assert "The change plan is damaged" in found["log"]
