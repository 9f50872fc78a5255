"""Each decision with its reason, and decision rules that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skinlesion.foundation.errors import DataError
from skinlesion.prediction.decision import DecisionRule, confidence, rule_beside

CONTENT: dict[str, Any] = {
    "version": 1,
    "temperature": 1.3,
    "malignant_threshold": 0.06,
    "target_sensitivity": 0.95,
    "malignant_lesions": 3,
    "least_confidence": 0.4,
    "coverage": 0.95,
    "most_distance": 1.5,
    "class_shares": [0.8, 0.16, 0.04],
    "distance": {"file": "feature_distance.npz", "layers": ["out_relu"]},
    "inner_fold": {"images": 7, "sensitivity": None, "reliability_before": [{"low": 0.0, "count": 7}]},
    "warnings": ["Few images."],
}

RULE = DecisionRule.of(CONTENT, "CONTENT")


@pytest.mark.parametrize(
    ("probabilities", "distance", "decision", "said"),
    [
        ((0.90, 0.07, 0.03), 1.0, "malignant", "is 0.070, at least 0.060: the threshold chosen to find 95%"),
        ((0.93, 0.06, 0.01), 1.0, "malignant", "at least 0.060"),
        ((0.95, 0.04, 0.01), 1.0, "benign", "P(malignant) is 0.040, below 0.060; of the others benign is the likelier"),
        ((0.20, 0.05, 0.75), 1.0, "unknown", "of the others unknown is the likelier"),
        ((0.40, 0.30, 0.30), 1.0, "no answer", "Not sure enough to answer: confidence 0.17, at least 0.40"),
        ((0.05, 0.94, 0.01), 1.6, "no answer", "Not like the images it was trained on: distance 1.6, at most 1.5"),
        ((0.40, 0.30, 0.30), 9.0, "no answer", "Not like the images"),  # before it is asked how sure the model is
        ((0.05, 0.94, 0.01), 1.5, "malignant", "at least 0.060"),
        ((0.05, 0.94, 0.01), float("nan"), "no answer", "Not like the images"),
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
    assert [found.decision for found in decisions] == ["benign", "malignant", "no answer"]


def test_without_distances_only_the_probabilities_count() -> None:
    assert RULE.decide(np.array([(0.95, 0.04, 0.01)]))[0].decision == "benign"
    unlimited = RULE.model_copy(update={"most_distance": None})
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


def test_a_rule_is_written_with_the_bytes_that_a_model_is_compared_by(tmp_path: Path) -> None:
    path = tmp_path / "decision_rule.json"
    RULE.write(path)
    assert path.read_text() == json.dumps(CONTENT, indent=1)
    assert DecisionRule.read(path) == rule_beside(tmp_path / "model.tflite") == RULE
    assert RULE.measured({"images": 8}).inner_fold == {"images": 8}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "Invalid JSON"),
        ("{}", "`temperature` is missing"),
        (json.dumps(CONTENT | {"version": 2}), "`version` does not fit"),
        (json.dumps({name: CONTENT[name] for name in CONTENT if name != "coverage"}), "`coverage` is missing"),
        (json.dumps(CONTENT | {"malignant_threshold": "0.1"}), "`malignant_threshold` does not fit"),
        (json.dumps(CONTENT | {"least_confidence": float("nan")}), "`least_confidence` does not fit"),
        (json.dumps(CONTENT | {"temperature": True}), "`temperature` does not fit"),
        (json.dumps(CONTENT | {"class_shares": [0.5, 0.5]}), "`class_shares.2` is missing"),
        (json.dumps(CONTENT | {"class_shares": [0.5, 0.5, None]}), "`class_shares.2` does not fit"),
        (json.dumps(CONTENT | {"distance": {"file": 1, "layers": []}}), "`distance.file` does not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_its_field_and_what_to_do(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "decision_rule.json"
    path.write_text(content)
    with pytest.raises(DataError) as raised:
        rule_beside(tmp_path / "model.tflite")
    assert str(raised.value).startswith(f"{path}: ")
    assert said in str(raised.value)
    assert "train again" in str(raised.value)


def test_a_rule_within_another_document_is_read_as_strictly() -> None:
    assert DecisionRule.of(CONTENT, "the record").temperature == CONTENT["temperature"]
    with pytest.raises(DataError, match="the record: the field `temperature` does not fit"):
        DecisionRule.of(CONTENT | {"temperature": "1"}, "the record")


@pytest.mark.parametrize(
    ("lesions", "said"),
    [
        (None, "the malignant images."),
        (1, "on 1 malignant lesion of the training part, too few to rely on."),
        (3, "on 3 malignant lesions of the training part, too few to rely on."),
        (300, "on 300 malignant lesions of the training part."),
    ],
)
def test_a_threshold_says_on_how_many_lesions_it_rests(lesions: int | None, said: str) -> None:
    rule = RULE.model_copy(update={"malignant_lesions": lesions})
    (found,) = rule.decide(np.array([(0.05, 0.94, 0.01)]), np.array([1.0]))
    assert found.reason.endswith(said)
