"""Who gets an answer, who does not and why; and what pictures without a lesion get."""

from __future__ import annotations

import numpy as np

from skinlesion.evaluation.decisions import UNLIKE, UNSURE, abstained, decisions_summary, smoke_summary
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.prediction.decision import DecisionRule

RULE = DecisionRule(
    temperature=1.0, malignant_threshold=0.3, target_sensitivity=0.95, least_confidence=0.6, coverage=0.9,
    most_distance=5.0, class_shares=(1 / 3, 1 / 3, 1 / 3),
)  # fmt: skip
PROBABILITIES = np.array([[0.9, 0.05, 0.05], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.4, 0.35, 0.25], [0.1, 0.1, 0.8]])
DISTANCES = np.array([1.0, 1.0, 9.0, 9.0, 1.0])


def test_the_reasons_are_those_of_the_rules_own_decisions() -> None:
    reasons = abstained(RULE, PROBABILITIES, DISTANCES)
    decided = RULE.decide(PROBABILITIES, DISTANCES)
    for at, decision in enumerate(decided):
        assert reasons[UNLIKE][at] == decision.reason.startswith("Not like the images")
        assert reasons[UNSURE][at] == decision.reason.startswith("Not sure enough")
    assert reasons[UNLIKE].tolist() == [False, False, True, True, False]
    assert reasons[UNSURE].tolist() == [False, True, False, False, False], "the first reason that holds counts"


def test_a_model_without_distances_abstains_for_want_of_confidence_alone() -> None:
    reasons = abstained(RULE, PROBABILITIES, None)
    assert not reasons[UNLIKE].any()
    assert reasons[UNSURE].tolist() == [False, True, False, True, False]


def test_a_distance_that_is_not_a_number_is_unlike() -> None:
    assert abstained(RULE, PROBABILITIES[:1], np.array([np.nan]))[UNLIKE].all()


def test_answered_and_unanswered_shares_and_decisions_add_up() -> None:
    images = ScoredImages.of(np.array([0, 1, 1, 0, 2]), PROBABILITIES, list("abcde"))
    decided = [decision.decision for decision in RULE.decide(PROBABILITIES, DISTANCES)]
    found = decisions_summary(
        images, decided, abstained(RULE, PROBABILITIES, DISTANCES), 0.3, ["nv", "mel", "mel", "bkl", "ak"]
    )
    assert found.answered_share == 0.4
    assert found.abstained_share == {UNLIKE: 0.4, UNSURE: 0.2}
    assert found.unknown_share == 0.8, "three without an answer and one of the class unknown"
    benign = next(row for row in found.account.classes if row.label == "benign")
    assert benign.counts == {"malignant": 0, "no answer": 1, "benign": 1, "unknown": 0, "at_threshold": 1}
    assert [(row.name, row.images) for row in found.diagnoses] == [("mel", 2), ("ak", 1), ("bkl", 1), ("nv", 1)]
    mel = found.diagnoses[0]
    assert (mel.counts["at_threshold"], mel.counts["malignant"], mel.counts["no answer"]) == (2, 0, 2)
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_the_smoke_sets_kinds_are_listed_worst_first() -> None:
    kinds = ["noise", "noise", "page", "page", "blank"]
    found = smoke_summary(kinds, ["unknown", "benign", "unknown", "unknown", "malignant"])
    assert found.unknown_share == 0.6 and found.pictures == 5
    assert [(row.kind, row.pictures, row.unknown_share) for row in found.by_kind] == [
        ("blank", 1, 0.0),
        ("noise", 2, 0.5),
        ("page", 2, 1.0),
    ]
