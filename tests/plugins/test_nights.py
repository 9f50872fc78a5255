"""Nights through a real scheduler: a candidate, the gate, a person's approval over the REST API, the way back."""

from __future__ import annotations

import pytest
from tests.plugins.standalone_airflow import PROMOTE, RETRAIN, Airflow

from skinlesion.registry import history

pytestmark = pytest.mark.slow


def test_the_next_night_runs_while_a_version_waits_for_approval_and_what_is_outside_the_change_plan_waits_in_any_case(
    airflow: Airflow,
) -> None:
    airflow.wait(lambda: "success" in airflow.runs(RETRAIN).values() and len(airflow.runs(PROMOTE)) == 1)
    (first,) = airflow.runs(PROMOTE)
    airflow.wait(lambda: airflow.is_waiting(first))
    question = airflow.question(first)
    assert question["subject"] == "Put version 1 of the skin-lesion classifier in service?"
    assert f"{airflow.address}/skin-lesion-models/versions/1/report.html" in question["body"]
    assert airflow.champion() is None

    night = airflow.trigger(RETRAIN, epochs=3)
    airflow.wait(lambda: airflow.runs(RETRAIN)[night] == "success")
    assert airflow.is_waiting(first)
    airflow.answer(first, "Approve")
    assert airflow.champion() == 1

    airflow.wait(lambda: len(airflow.runs(PROMOTE)) == 2)
    second = list(airflow.runs(PROMOTE))[-1]
    airflow.answer(second, "Approve")
    assert airflow.champion() == 2

    rollback = {"reason": "It misses more melanomas", "instead_of": "2"}
    with airflow.client("vic") as viewer, airflow.client("ada") as admin:
        assert viewer.post("/skin-lesion-models/versions/1/in-service", data=rollback).status_code == 403
        assert admin.post("/skin-lesion-models/versions/1/in-service", data=rollback).status_code == 303
    assert airflow.champion() == 1

    # No approval is required, but the gate of this run is looser than the change plan lets it be.
    loose = airflow.trigger(PROMOTE, version=2, require_approval=False, gate_confidence=0.5)
    airflow.wait(lambda: airflow.is_waiting(loose))
    body = airflow.question(loose)["body"]
    assert "Bounds loosened: gate_confidence is 0.5 instead of 0.9 (by 0.4)" in body
    airflow.answer(loose, "Approve")
    assert airflow.champion() == 2
    usual = airflow.trigger(PROMOTE, version=1, require_approval=False)
    airflow.wait(lambda: airflow.runs(PROMOTE)[usual] == "success")
    assert airflow.tasks(PROMOTE, usual)["approval"] == "skipped"
    assert airflow.champion() == 1
    happened = [(entry.what, entry.version) for entry in history.lines(airflow.models).all() if entry.what != "judged"]
    assert happened == [
        ("approved", 1), ("promoted", 1), ("approved", 2), ("promoted", 2), ("rolled back", 1),
        ("approved", 2), ("promoted", 2), ("promoted", 1),
    ]  # fmt: skip
