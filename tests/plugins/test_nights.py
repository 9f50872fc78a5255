"""Nights through a real scheduler: a candidate, the gate, a person's approval over the REST API, the way back."""

from __future__ import annotations

import pytest
from tests.plugins.standalone_airflow import PROMOTE, RETRAIN, Airflow

from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry

pytestmark = pytest.mark.slow


def test_the_next_night_runs_while_a_version_waits_for_approval_and_what_is_outside_the_change_plan_waits_in_any_case(
    airflow: Airflow,
) -> None:
    airflow.settle()
    before, already = airflow.champion(), len(history.lines(airflow.models).all())
    known = set(airflow.runs(PROMOTE))
    assert airflow.ended(RETRAIN, airflow.trigger(RETRAIN, epochs=2)) == "success"
    first = new_promotion(airflow, known)
    one = Registry.read(airflow.models).versions[0].number
    airflow.wait(lambda: airflow.is_waiting(first))
    question = airflow.question(first)
    assert question["subject"] == f"Put version {one} of the skin-lesion classifier in service?"
    assert f"{airflow.address}/skin-lesion-models/versions/{one}/report.html" in question["body"]
    assert airflow.champion() == before

    assert airflow.ended(RETRAIN, airflow.trigger(RETRAIN, epochs=3)) == "success"
    assert airflow.is_waiting(first)
    airflow.answer(first, "Approve")
    assert airflow.champion() == one

    two = Registry.read(airflow.models).versions[0].number
    airflow.answer(new_promotion(airflow, {*known, first}), "Approve")
    assert airflow.champion() == two != one

    rollback = {"reason": "It misses more melanomas", "instead_of": str(two)}
    with airflow.client("vic") as viewer, airflow.client("ada") as admin:
        back = f"/skin-lesion-models/versions/{one}/in-service"
        assert viewer.post(back, data=rollback).status_code == 403
        assert admin.post(back, data=rollback).status_code == 303
    assert airflow.champion() == one

    # No approval is required, but the gate of this run is looser than the change plan lets it be.
    loose = airflow.trigger(PROMOTE, version=two, require_approval=False, gate_confidence=0.5)
    airflow.wait(lambda: airflow.is_waiting(loose))
    body = airflow.question(loose)["body"]
    assert "Bounds loosened: gate_confidence is 0.5 instead of 0.9 (by 0.4)" in body
    airflow.answer(loose, "Approve")
    assert airflow.champion() == two
    usual = airflow.trigger(PROMOTE, version=one, require_approval=False)
    airflow.wait(lambda: airflow.runs(PROMOTE)[usual] == "success")
    assert airflow.tasks(PROMOTE, usual)["approval"] == "skipped"
    assert airflow.champion() == one
    happened = history.lines(airflow.models).all()[already:]
    assert [(entry.what, entry.version) for entry in happened if entry.what != "judged"] == [
        ("approved", one), ("promoted", one), ("approved", two), ("promoted", two), ("rolled back", one),
        ("approved", two), ("promoted", two), ("promoted", one),
    ]  # fmt: skip


def new_promotion(airflow: Airflow, known: set[str]) -> str:
    """Wait for a promotion that is not known yet; return its name."""
    airflow.wait(lambda: not known.issuperset(airflow.runs(PROMOTE)))
    return next(name for name in airflow.runs(PROMOTE) if name not in known)
