"""Which changes go into service by themselves, and which wait for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.promotion.change_plan.conftest import Nights

from skinlesion.data.labels import review_log
from skinlesion.promotion.approval_text import approval_text
from skinlesion.promotion.change_plan.document import record_page
from skinlesion.promotion.change_plan.record import record_path
from skinlesion.promotion.decide import note_answer
from skinlesion.registry import history
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import rollback
from skinlesion.registry.training_record import Origin
from skinlesion.registry.verdict import read_verdict

OTHER_NETWORK = Origin(training_version=1, settings="settings", built="otherwise")
OTHER_CODE = Origin(training_version=2, settings="settings", built="built")


def kinds(nights: Nights, number: int) -> dict[str, bool]:
    return {one.kind: one.inside for one in nights.record(number).findings}


def test_a_usual_night_goes_into_service_by_itself_without_a_plan_of_ones_own(nights: Nights) -> None:
    nights.in_service()
    corrected = nights.rows(9)
    corrected.loc[0, ["dx", "label"]] = ["mel", "malignant"]
    two = nights.trained("two", corrected.iloc[1:], git_revision="beef", packages={"keras": "4"})
    judgement = nights.asked(two)
    assert (judgement.next, judgement.needs_person) == ("switch", False)
    three = nights.trained("three", corrected)
    nights.put(judgement)
    assert not nights.asked(three).needs_person
    record = nights.record(two)
    assert (record.data.before, record.data.added, record.data.removed, record.data.now) == (6, 3, 1, 8)
    assert kinds(nights, two) == {"new_data": True, "images_removed": True, "code": True}
    assert "program's default plan" in record.sentence


def test_corrected_labels_are_counted_by_diagnosis(nights: Nights) -> None:
    nights.in_service()
    corrected = nights.rows()
    corrected.loc[[0, 1], ["dx", "label"]] = ["mel", "malignant"]
    corrected.loc[2, "dx"] = "bkl"
    two = nights.trained("two", corrected)
    assert not nights.asked(two).needs_person
    record = nights.record(two)
    found = {(one.diagnosis_before, one.diagnosis): (one.class_now, one.images) for one in record.data.relabellings}
    assert found == {("nv", "mel"): ("malignant", 2), ("nv", "bkl"): ("benign", 1)}
    counts = {one.diagnosis: (one.before, one.gained, one.lost, one.now) for one in record.data.counts}
    assert counts == {"nv": (6, 0, 3, 3), "mel": (0, 2, 0, 2), "bkl": (0, 1, 0, 1)}
    assert [one.sentence for one in record.findings] == ["3 training images have another diagnosis."]


def test_a_label_that_a_person_corrected_who_looked_is_counted_as_theirs(nights: Nights) -> None:
    nights.in_service()
    corrected = nights.rows()
    corrected.loc[[0, 1], ["dx", "label"]] = ["mel", "malignant"]
    dataset, (one, other) = nights.config().dataset, corrected["image"].head(2)
    review_log.note(dataset, "ann", "labelled", {one: ""}, dx="mel")
    review_log.note(dataset, "ben", "labelled", {other: ""}, dx="bcc")  # the table says something else by now
    two = nights.trained("two", corrected)
    nights.asked(two)
    record = nights.record(two)
    assert [(found.diagnosis, found.images, found.by) for found in record.data.relabellings] == [("mel", 2, {"ann": 1})]
    assert [found.sentence for found in record.findings] == [
        "2 training images have another diagnosis (in reviews: ann 1)."
    ]
    assert '<td class="words">ann 1</td>' in record_page(record)


def test_after_a_warm_start_an_image_counts_as_it_is_labelled_now(nights: Nights) -> None:
    nights.in_service()
    corrected = nights.rows()
    corrected.loc[0, ["dx", "label"]] = ["mel", "malignant"]
    two = nights.trained("two", pd.concat([corrected, nights.rows()], ignore_index=True))
    assert not nights.asked(two).needs_person
    assert nights.record(two).data.relabelled == 1


@pytest.mark.parametrize(
    ("kind", "changed", "why"),
    [
        ("settings", {"settings": {"epochs": 400}}, "epochs is 400; the model in service has 2: the plan allows from 1 to 100"),
        ("architecture", {"settings": {"fine_tune": "none"}}, "fine_tune is none; the model in service has tail"),
        ("architecture", {"settings": {"dense_units": 64}}, "dense_units is 64"),
        ("architecture", {"origin": OTHER_NETWORK}, "The network before training is another one"),
        ("preprocessing", {"settings": {"min_image_side": 100}}, "min_image_side is 100"),
        ("taxonomy", {"settings": {"actinic_keratosis": "malignant"}}, "actinic_keratosis is malignant"),
        ("thresholds", {"settings": {"target_sensitivity": 0.9}}, "target_sensitivity is 0.9"),
        ("weights", {"settings": {"weights": "random"}}, "weights is random"),
        ("weights", {"weights_key": "others"}, "Weights of the backbone (hash) weights became others"),
        ("training_code", {"origin": OTHER_CODE}, "Training code (number) 1 became 2"),
    ],
)  # fmt: skip
def test_each_kind_outside_the_default_plan_waits_for_a_person(
    nights: Nights, kind: str, changed: dict[str, Any], why: str
) -> None:
    nights.in_service()
    two = nights.trained("two", **changed)
    judgement = nights.asked(two)
    assert (judgement.next, judgement.needs_person) == ("switch", True)
    assert kinds(nights, two) == {kind: False}
    assert why in judgement.sentence
    verdict = read_verdict(nights.house.models, "two", two)
    assert verdict is not None and verdict.passed
    assert why in verdict.criteria[-1].sentence
    assert why in approval_text(Registry.read(nights.house.models), judgement, "link")


def test_a_diagnosis_that_counts_as_another_class_is_a_change_of_the_taxonomy(nights: Nights) -> None:
    nights.in_service()
    two = nights.trained("two", nights.rows(label="malignant"))
    assert nights.asked(two).needs_person
    assert kinds(nights, two) == {"taxonomy": False}
    assert "6 images of nv count as malignant, before as benign" in nights.record(two).sentence


def test_a_change_within_the_ranges_of_the_plan_goes_by_itself(nights: Nights) -> None:
    nights.in_service()
    changed = {"epochs": 30, "seed": 5, "warm_start": True, "class_weighting": "inverse"}
    two = nights.trained("two", settings=changed)
    assert not nights.asked(two).needs_person
    assert {one.name: one.now for one in nights.record(two).settings} == changed


def test_a_plan_may_let_a_kind_go_by_itself_and_hold_another_back(nights: Nights) -> None:
    nights.write_plan("  - labels_corrected", "  - thresholds")
    nights.in_service()
    two = nights.trained("two", settings={"target_sensitivity": 0.9})
    assert not nights.asked(two).needs_person
    three = nights.trained("three", nights.rows(dx="bkl"))
    assert nights.asked(three).needs_person
    assert "no change of the kind `labels_corrected`" in nights.record(three).sentence


def test_the_first_model_changes_nothing(nights: Nights) -> None:
    one = nights.trained("one")
    assert not nights.asked(one).needs_person
    assert "nothing was in service before" in nights.record(one).sentence


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"gate_min_auroc": 0.7}, "gate_min_auroc is 0.7 instead of 0.8 (by 0.1) against the plan"),
        ({"gate_sensitivity_margin": 0.2}, "gate_sensitivity_margin is 0.2 instead of 0.08 (by 0.12)"),
        ({"gate_confidence": 0.5}, "gate_confidence is 0.5 instead of 0.9"),
        ({"gate_max_latency": 5000}, "gate_max_latency is 5000 instead of 500"),
        ({"gate_require_data_checks": False}, "gate_require_data_checks is false instead of true"),
    ],
)
def test_a_gate_that_is_looser_than_the_plan_needs_a_person_for_the_first_model_too(
    nights: Nights, settings: dict[str, Any], said: str
) -> None:
    one = nights.trained("one")
    judgement = nights.asked(one, **settings)
    assert judgement.needs_person
    assert f"Bounds loosened: {said}" in judgement.sentence
    assert [one.name for one in nights.record(one).loosened] == [*settings]


def test_a_stricter_gate_needs_nobody(nights: Nights) -> None:
    assert not nights.asked(nights.trained("one"), gate_min_auroc=0.9, gate_sensitivity_margin=0.01).needs_person


def test_the_plan_states_bounds_of_its_own(nights: Nights) -> None:
    nights.write_plan("gate: {}", "gate: {gate_min_auroc: 0.7, gate_confidence: 0.95}")
    one = nights.trained("one")
    assert nights.asked(one, gate_min_auroc=0.7).needs_person
    assert nights.record(one).loosened[0].name == "gate_confidence"
    two = nights.trained("two")
    assert not nights.asked(two, gate_min_auroc=0.7, gate_confidence=0.95).needs_person


def test_an_installation_that_loosens_its_gate_is_asked_once(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    nights.in_service()
    monkeypatch.setenv("SKINLESION_GATE_MIN_AUROC", "0.6")
    two = nights.trained("two")
    judgement = nights.asked(two)
    assert "gate_min_auroc is 0.6 instead of 0.8 (by 0.2) against the bound at the last promotion" in judgement.sentence
    nights.put(judgement)
    assert not nights.asked(nights.trained("three")).needs_person


def test_a_stricter_run_does_not_hold_the_next_usual_night_up(nights: Nights) -> None:
    nights.in_service(gate_min_auroc=0.85)
    assert not nights.asked(nights.trained("two")).needs_person


def test_within_a_bound_that_the_plan_states_runs_may_differ(nights: Nights) -> None:
    nights.write_plan("gate: {}", "gate: {gate_min_auroc: 0.6}")
    nights.in_service(gate_min_auroc=0.8)
    assert not nights.asked(nights.trained("two"), gate_min_auroc=0.6).needs_person


def test_a_damaged_plan_lets_nothing_into_service_by_itself_and_is_no_error(nights: Nights) -> None:
    nights.plan.write_text("by_itself: [new-data]\n")
    one = nights.trained("one")
    judgement = nights.asked(one)
    assert (judgement.next, judgement.needs_person) == ("switch", True)
    assert f"{nights.plan}, line 1: `new-data` is no kind of change. Did you mean `new_data`?" in judgement.sentence
    nights.put(judgement)  # a person may
    nights.write_plan()
    two = nights.trained("two")
    assert nights.asked(two).needs_person  # the plan in force now is not the one that the person saw
    assert "(damaged; now" in nights.record(two).sentence


def test_a_plan_that_is_loosened_together_with_the_change_does_not_let_it_through(nights: Nights) -> None:
    nights.write_plan()
    nights.in_service()
    nights.write_plan("  - code ", "  - thresholds\n  - code ")
    changed = {"target_sensitivity": 0.9}
    two = nights.trained("two", settings=changed)
    judgement = nights.asked(two)
    assert judgement.needs_person
    assert kinds(nights, two) == {"plan": False, "thresholds": True}
    assert "not the one under which the last promotion was decided" in judgement.sentence
    nights.put(judgement)
    assert not nights.asked(nights.trained("three", settings={"target_sensitivity": 0.8})).needs_person


def test_another_layout_and_other_comments_are_the_same_plan(nights: Nights) -> None:
    nights.in_service()  # under the default plan
    nights.write_plan("# The change plan of", "# Ours, in the place of")
    assert not nights.asked(nights.trained("two")).needs_person


def test_a_plan_that_is_gone_is_another_plan(nights: Nights) -> None:
    nights.write_plan("to: 0.8", "to: 0.7")
    nights.in_service()
    nights.plan.unlink()
    judgement = nights.asked(nights.trained("two"))
    assert judgement.needs_person
    assert "the program's default plan is in force" in judgement.sentence


def test_after_a_rollback_the_plan_of_the_last_promotion_counts(nights: Nights) -> None:
    nights.in_service()
    nights.write_plan("to: 0.8", "to: 0.7")
    two = nights.trained("two")
    nights.put(nights.asked(two))
    rollback(nights.house.models, actor="bob", reason="It is worse")
    assert not nights.asked(nights.trained("three")).needs_person


def test_a_version_that_waits_is_looked_at_again_by_the_plan_of_today(nights: Nights) -> None:
    nights.in_service()
    two = nights.trained("two", settings={"epochs": 400})
    assert nights.asked(two).needs_person
    again = nights.asked(two)
    assert (again.judged_now, again.needs_person) == (False, True)


def test_a_version_that_passed_a_loosened_gate_still_waits_when_a_usual_night_comes(nights: Nights) -> None:
    nights.in_service()
    two = nights.trained("two")
    assert nights.asked(two, gate_min_auroc=0.5).needs_person
    usual = nights.asked(two)
    assert (usual.judged_now, usual.next, usual.needs_person) == (False, "switch", True)
    assert "gate_min_auroc is 0.5 instead of 0.8" in usual.sentence
    record_path(nights.house.models, "two").unlink()
    assert "By which bounds the gate judged it is not known" in nights.asked(two).sentence


def test_what_changed_cannot_be_told_without_the_record_of_the_model_in_service(nights: Nights) -> None:
    nights.in_service()
    nights.house.candidate("one").training.unlink()
    judgement = nights.asked(nights.trained("two"))
    assert judgement.needs_person
    assert "What changed against version 1 cannot be told." in judgement.sentence


def test_a_model_in_service_from_before_there_were_records_holds_nothing_up(nights: Nights) -> None:
    nights.in_service()
    record_path(nights.house.models, "one").unlink()
    assert not nights.asked(nights.trained("two")).needs_person


def test_a_damaged_record_of_the_model_in_service_needs_a_person(nights: Nights) -> None:
    nights.in_service()
    record_path(nights.house.models, "one").write_text("{}")
    judgement = nights.asked(nights.trained("two"))
    assert judgement.needs_person
    assert "Under which plan version 1 was accepted cannot be read." in judgement.sentence


def test_a_version_that_does_not_pass_asks_nobody_and_has_a_record(nights: Nights) -> None:
    nights.in_service()
    nights.passing = False
    two = nights.trained("two", settings={"epochs": 400})
    judgement = nights.asked(two)
    assert (judgement.next, judgement.needs_person) == ("nothing", False)
    record = nights.record(two)
    assert record.outcome == "not passed"
    assert [(one.name, one.found) for one in record.criteria] == [("min_auroc", 0.9)]


def test_the_record_says_who_decided(nights: Nights) -> None:
    nights.in_service()
    two = nights.trained("two", settings={"epochs": 400})
    judgement = nights.asked(two)
    note_answer(nights.config(), two, "approved", actor="eve", at=history.now(), reason="Asked by the nightly run")
    nights.put(judgement)
    assert [(one.what, one.by) for one in nights.record(two).decisions] == [("approved", "eve"), ("promoted", "ann")]
    page: Path = nights.house.candidate("two").folder / "change_record.html"
    assert "approved by eve. Asked by the nightly run" in page.read_text()
