"""Runs of skin_lesion_monitor, for real by `dag.test()`, on a log of simulated pictures."""

from __future__ import annotations

from pathlib import Path

from tests.dags.run_dag import RunDag
from tests.evaluation.in_use.logs import in_use

from skinlesion.evaluation.in_use.record import MonitorRecord
from skinlesion.foundation import layout


def test_an_alarm_is_sent_once_and_the_run_succeeds(run_dag: RunDag, tmp_path: Path) -> None:
    used = in_use(tmp_path)
    for number in range(3):
        used.week(number, brightness=-1)
    environment = {
        "SKINLESION_MODELS": str(used.models),
        "SKINLESION_DATASET": str(tmp_path / "none"),
        "SKINLESION_PREDICTION_LOG": str(used.folder),
    }
    first = run_dag("skin_lesion_monitor", {}, None, environment)
    assert first["state"] == "success"
    (notice,) = first["notices"]
    assert notice.startswith("Brightness lies") and "camera" in notice
    assert "600 answers in 3 weeks" in first["log"]
    assert [alarm.signal for alarm in MonitorRecord.read(layout.monitored(used.models)).alarms] == ["brightness"]
    assert run_dag("skin_lesion_monitor", {}, None, environment)["notices"] == []


def test_without_a_log_it_fails_and_says_what_to_do(run_dag: RunDag, tmp_path: Path) -> None:
    environment = {"SKINLESION_MODELS": str(tmp_path), "SKINLESION_PREDICTION_LOG": str(tmp_path / "log")}
    found = run_dag("skin_lesion_monitor", {}, None, environment)
    assert found["state"] == "failed"
    assert "holds no prediction log" in " ".join(found["log"].split())  # the sentence is broken into lines
