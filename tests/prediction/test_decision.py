"""Each way to a decision, the sentence that goes with it, and rules that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion.foundation.errors import DataError
from skinlesion.prediction.decision import DecisionRule, confidence, rule_beside

RULE = DecisionRule(
    temperature=1.3,
    views=1,
    malignant_threshold=0.06,
    target_sensitivity=0.95,
    least_confidence=0.4,
    coverage=0.95,
    most_distance=1.5,
    class_shares=(0.8, 0.16, 0.04),
)


@pytest.mark.parametrize(
    ("probabilities", "distance", "decision", "said"),
    [
        (
            (0.90, 0.07, 0.03),
            1.0,
            "malignant",
            "P(malignant) is 0.070, at least 0.060: the threshold chosen to find 95%",
        ),
        ((0.93, 0.06, 0.01), 1.0, "malignant", "at least 0.060"),
        ((0.95, 0.04, 0.01), 1.0, "benign", "P(malignant) is 0.040, below 0.060; of the others benign is the likelier"),
        ((0.20, 0.05, 0.75), 1.0, "unknown", "of the others unknown is the likelier"),
        ((0.40, 0.30, 0.30), 1.0, "unknown", "Not sure enough to answer: confidence 0.17, at least 0.40"),
        ((0.05, 0.94, 0.01), 1.6, "unknown", "Not like the images it was trained on: distance 1.6, at most 1.5"),
        ((0.40, 0.30, 0.30), 9.0, "unknown", "Not like the images"),  # before it is asked how sure the model is
        ((0.05, 0.94, 0.01), 1.5, "malignant", "at least 0.060"),
        ((0.05, 0.94, 0.01), float("nan"), "unknown", "Not like the images"),
    ],
)
def test_a_decision_comes_with_its_reason(
    probabilities: tuple[float, ...], distance: float, decision: str, said: str
) -> None:
    (found,) = RULE.decide(np.array([probabilities]), np.array([distance]))
    assert found.decision == decision
    assert said in found.reason
    assert found.reason.endswith(".")


def test_many_images_are_decided_in_their_order() -> None:
    probabilities = np.array([(0.95, 0.04, 0.01), (0.05, 0.94, 0.01), (0.95, 0.04, 0.01)], dtype=np.float32)
    decisions = RULE.decide(probabilities, np.array([0.1, 0.1, 7.0], dtype=np.float32))
    assert [found.decision for found in decisions] == ["benign", "malignant", "unknown"]


def test_without_distances_only_the_probabilities_count() -> None:
    assert RULE.decide(np.array([(0.95, 0.04, 0.01)]))[0].decision == "benign"
    unlimited = replace(RULE, most_distance=None)
    assert unlimited.decide(np.array([(0.95, 0.04, 0.01)]), np.array([1e9]))[0].decision == "benign"


def test_a_distance_is_wanted_for_each_image() -> None:
    with pytest.raises(ValueError, match="a distance for each of 2 images, received 1"):
        RULE.decide(np.full((2, 3), 1 / 3), np.array([1.0]))


def test_confidence_is_what_the_probability_would_be_were_classes_less_unequal() -> None:
    rows = np.array([(0.5, 0.4, 0.1), (0.1, 0.1, 0.8)])
    weights = 1 / np.sqrt(RULE.class_shares)
    expected = [0.5 * weights[0] / (rows[0] @ weights), 0.8 * weights[2] / (rows[1] @ weights)]
    assert confidence(rows, RULE.class_shares) == pytest.approx(expected)


def test_a_class_without_training_images_does_not_divide_by_nothing() -> None:
    assert np.isfinite(confidence(np.array([(0.5, 0.5, 0.0), (0.0, 0.0, 1.0)]), (0.7, 0.3, 0.0))).all()


def test_a_rule_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "decision_rule.json"
    path.write_text(json.dumps(RULE.measured({"images": 7}).as_json()))
    assert DecisionRule.read(path) == RULE.measured({"images": 7})
    assert rule_beside(tmp_path / "model.tflite") == DecisionRule.read(path)


def test_a_model_may_lie_without_a_rule(tmp_path: Path) -> None:
    assert rule_beside(tmp_path / "model.tflite") is None
    with pytest.raises(DataError, match="is missing"):
        DecisionRule.read(tmp_path / "decision_rule.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "cannot be read as a decision rule"),
        ("[]", "expected a JSON object"),
        (json.dumps({"version": 99}), "of version 1, found 99"),
        (json.dumps({"version": 1, "views": 1}), "expected temperature"),
    ],
)
def test_a_damaged_rule_is_told_with_what_to_do(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "decision_rule.json"
    path.write_text(content)
    with pytest.raises(DataError) as raised:
        rule_beside(tmp_path / "model.tflite")
    assert str(path) in str(raised.value)
    assert said in str(raised.value)
    assert "train again" in str(raised.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"views": 3},
        {"malignant_threshold": "0.1"},
        {"least_confidence": float("nan")},
        {"temperature": True},
        {"most_distance": [1]},
        {"class_shares": [0.5, 0.5]},
        {"class_shares": [0.5, 0.5, None]},
        {"class_shares": 1},
    ],
)
def test_a_value_that_cannot_be_is_named(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        DecisionRule.of(json.loads(json.dumps(RULE.as_json())) | changed)
