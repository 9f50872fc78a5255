"""Evaluate as a stage: what it leaves beside a candidate, with and without rival and curves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.measured import known, metrics_record
from tests.trained import OTHER_SEED, candidate_of, config_of
from tests.training_record import write_learnt

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, read_manifest
from skinlesion.evaluation import mistakes
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import read_table
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.classifier import Answer
from skinlesion.prediction.decision import DecisionRule
from skinlesion.prediction.held_out_scores import PREDICTION_COLUMNS, answers_of, stored_answers_of
from skinlesion.prediction.measurable import LEARNT_COLUMNS
from skinlesion.prediction.sealed import HeldOutParts
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.stages import evaluate
from skinlesion.stages.pipeline import run_stage


def strict_json(path: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    metrics: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return metrics


def test_a_candidate_gets_metrics_report_card_plots_and_predictions(trained: Path) -> None:
    candidate = candidate_of(trained, 2)
    metrics = strict_json(candidate.metrics)
    for name in ("operating_point", "calibration", "risk_coverage", "decisions", "out_of_distribution", "robustness"):
        assert metrics[name], name
    assert {"sensitivity", "specificity", "macro_f1", "expected_calibration_error"} <= metrics["intervals"].keys()
    rule = DecisionRule.read(candidate.decision_rule)
    assert metrics["operating_point"]["threshold"] == rule.malignant_threshold
    assert metrics["operating_point"]["target_sensitivity"] == rule.target_sensitivity == 0.95
    for name in ("confusion_matrix", "roc", "reliability", "risk_coverage", "robustness", "history"):
        assert (candidate.folder / f"{name}.png").is_file()
    html, card = candidate.report.read_text(), candidate.model_card.read_text()
    assert "Grad-CAM" in html and "Pictures that show no lesion" in html and "Robustness to image quality" in html
    assert not re.search(r"""(src|href)=["']https?:|url\(|@import|<script""", html)
    assert f"# Model card: skin-lesion classifier {candidate.run}" in card
    assert f"{rule.malignant_threshold:.3f}" in card


def test_the_predictions_hold_what_the_rule_decided_and_the_shares_follow_from_them(trained: Path) -> None:
    candidate = candidate_of(trained, 2)
    stored = pd.read_parquet(candidate.predictions)
    assert list(stored) == list(PREDICTION_COLUMNS)
    rule = DecisionRule.read(candidate.decision_rule)
    distances = None if stored["distance"].isna().all() else stored["distance"].to_numpy()
    decided = rule.decide(stored[list(LABELS)].to_numpy(), distances)
    assert stored["decision"].tolist() == [one.decision for one in decided]
    assert all(stored["reason"] != "")
    shares = strict_json(candidate.metrics)["decisions"]
    assert shares["unknown_share"] == pytest.approx(stored["decision"].isin(["unknown", "no answer"]).mean())
    assert shares["answered_share"] + sum(shares["abstained_share"].values()) == pytest.approx(1)


def test_the_first_candidate_has_no_rival_and_the_second_is_compared_with_it_on_the_same_images(trained: Path) -> None:
    first, second = (candidate_of(trained, number) for number in (1, 2))
    alone, compared = strict_json(first.metrics), strict_json(second.metrics)
    assert alone["model_in_service"] is alone["paired"] is None
    assert "There is no model in service" in first.report.read_text()
    assert compared["model_in_service"]["run"] == first.run
    assert compared["model_in_service"]["balanced_accuracy"] == alone["balanced_accuracy"]
    assert compared["model_in_service"]["operating_point"] == alone["operating_point"]
    # What is said by diagnosis is for the candidate's own report.
    assert alone["decisions"]["diagnoses"]
    assert compared["model_in_service"]["decisions"] == alone["decisions"] | {"diagnoses": []}
    difference = compared["balanced_accuracy"] - alone["balanced_accuracy"]
    assert compared["paired"]["balanced_accuracy"]["difference"] == pytest.approx(difference)
    assert "Both models on the same held-out lesions" in second.report.read_text()


def test_the_stored_answers_are_those_that_were_given_and_other_images_are_asked_anew(copy_of_trained: Path) -> None:
    config, candidate = config_of(copy_of_trained), candidate_of(copy_of_trained, 2)
    rows = held_out_rows(read_manifest(config.dataset))
    stored, asked = stored_answers_of(config, candidate, rows[::-1]), answers_of(config, candidate, rows[::-1])
    np.testing.assert_allclose(stored.probabilities, asked.probabilities, atol=1e-6)
    assert (stored.decisions, stored.reasons) == (asked.decisions, asked.reasons)
    kept = candidate.predictions.read_bytes()
    candidate.predictions.unlink()
    assert stored_answers_of(config, candidate, rows.head(1)).decisions == stored.decisions[-1:]
    candidate.predictions.write_bytes(kept)


def test_stored_answers_are_taken_by_content_and_only_others_are_asked(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, candidate = config_of(trained), candidate_of(trained, 2)
    rows = held_out_rows(read_manifest(config.dataset))
    given = pd.read_parquet(candidate.predictions)
    asked: list[int] = []

    def answers_of(config: Any, candidate: Any, rows: pd.DataFrame) -> Answers:
        asked.append(len(rows))
        return Answers.of([Answer(np.array([0.2, 0.3, 0.5], np.float32), 1.0, "unknown", "asked anew")] * len(rows))

    monkeypatch.setattr("skinlesion.prediction.held_out_scores.answers_of", answers_of)
    found = stored_answers_of(config, candidate, rows)
    np.testing.assert_array_equal(found.probabilities, given[list(LABELS)].to_numpy(dtype=np.float64))
    assert asked == []
    changed = rows.assign(sha256=["0" * 64, *rows["sha256"].iloc[1:]])
    found = stored_answers_of(config, candidate, pd.concat([changed, changed.head(1)]))
    assert (asked, len(found.reasons)) == ([1], len(rows) + 1)
    assert found.reasons[0] == found.reasons[-1] == "asked anew"
    assert found.probabilities[0].tolist() == pytest.approx([0.2, 0.3, 0.5])


def learns(candidate: Candidate, rows: pd.DataFrame) -> None:
    """Let a candidate have learnt these rows as well."""
    before = read_table(candidate.trained_on, LEARNT_COLUMNS)
    write_learnt(candidate, pd.concat([before, rows.assign(inner=False)[[*LEARNT_COLUMNS]]]))
    changed = {"trained_on": sha256_of(candidate.trained_on)}
    TrainingRecord.read(candidate.training).model_copy(update=changed).write(candidate.training)


def a_lesion(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a lesion of the commonest class."""
    lesion = rows.loc[rows["label"] == rows["label"].mode()[0], "group"].iloc[0]
    found: pd.DataFrame = rows.loc[rows["group"] == lesion]
    return found


def test_what_the_model_in_service_learnt_is_left_out_of_the_comparison_alone(copy_of_trained: Path) -> None:
    """The model in service was trained on what it was measured on, and the report did not say so."""
    config, candidate = config_of(copy_of_trained, seed=OTHER_SEED), candidate_of(copy_of_trained, 2)
    before, rows = MetricsRecord.read(candidate.metrics), held_out_rows(read_manifest(config.dataset))
    learnt = a_lesion(rows)
    learns(candidate_of(copy_of_trained, 1), learnt)
    run_stage("evaluate", config.model_copy(update={"force": True}))
    found = MetricsRecord.read(candidate.metrics)
    assert (found.images, found.left_out.images, found.confusion_matrix) == (len(rows), 0, before.confusion_matrix)
    other = known(found.model_in_service)
    assert (other.images, other.left_out.images) == (len(rows) - len(learnt), len(learnt))
    assert known(other.candidate).images == other.images
    difference = known(other.candidate).balanced_accuracy - other.balanced_accuracy
    assert known(found.paired)["balanced_accuracy"].difference == pytest.approx(difference)
    said = f"{len(learnt)} of {len(rows)} held-out images, of 1 lesion, are left out"
    assert said in candidate.report.read_text() and said in candidate.model_card.read_text()
    learns(candidate_of(copy_of_trained, 1), rows)
    run_stage("evaluate", config.model_copy(update={"force": True}))
    found = MetricsRecord.read(candidate.metrics)
    assert (found.images, found.model_in_service, found.paired) == (len(rows), None, None)
    assert "too few to judge" in found.not_compared
    assert "too few to judge" in candidate.report.read_text() and "too few to judge" in candidate.model_card.read_text()


def test_a_candidate_is_not_measured_on_what_it_learnt_and_no_answer_for_it_is_stored(copy_of_trained: Path) -> None:
    config, candidate = config_of(copy_of_trained, seed=OTHER_SEED), candidate_of(copy_of_trained, 2)
    rows = held_out_rows(read_manifest(config.dataset))
    learnt = a_lesion(rows)
    learns(candidate, learnt)
    report = run_stage("evaluate", config)
    found, stored = MetricsRecord.read(candidate.metrics), pd.read_parquet(candidate.predictions)
    assert report.done == found.images == len(stored) == len(rows) - len(learnt)
    assert not set(stored["image"]) & set(learnt["image"])
    assert found.left_out.sentence in found.warnings
    assert run_stage("evaluate", config).done == 0
    learns(candidate, rows)
    with pytest.raises(DataError, match="too few to judge"):
        run_stage("evaluate", config)
    candidate.trained_on.unlink()
    with pytest.raises(DataError, match="learnt is not known"):
        run_stage("evaluate", config)


def test_what_is_sealed_is_not_measured_and_the_report_says_so(copy_of_trained: Path) -> None:
    sealing = {"gate_sealed_from": 1, "gate_sealed_share": 0.5, "robustness_lesions": 0}
    config, candidate = config_of(copy_of_trained, **sealing), candidate_of(copy_of_trained, 1)
    parts = HeldOutParts.of(held_out_rows(read_manifest(config.dataset)), 0.5, 1)
    run_stage("evaluate", config)
    found, stored = MetricsRecord.read(candidate.metrics), pd.read_parquet(candidate.predictions)
    assert len(parts.sealed) > 0 and found.images == len(stored) == len(parts.nightly)
    assert not set(stored["sha256"]) & set(parts.sealed["sha256"])
    assert parts.sentence in found.warnings and parts.sentence in candidate.report.read_text()


def test_no_lesions_switch_the_curves_off_and_make_the_evaluation_stale(copy_of_trained: Path) -> None:
    candidate = candidate_of(copy_of_trained, 1)
    report = run_stage("evaluate", config_of(copy_of_trained, robustness_lesions=0))
    assert report.done > 0
    assert strict_json(candidate.metrics)["robustness"] is None
    assert "Robustness to image quality" not in candidate.report.read_text()
    assert run_stage("evaluate", config_of(copy_of_trained, robustness_lesions=0)).done == 0


def test_lost_files_are_written_again_as_they_were(copy_of_trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = candidate_of(copy_of_trained, 1)
    written = {path: path.read_bytes() for path in (candidate.report, candidate.model_card, candidate.metrics)}
    asked: list[bool] = []
    with monkeypatch.context() as patch:

        def evaluated(*given: object) -> MetricsRecord:
            asked.append(True)
            return MetricsRecord.read(candidate.metrics)

        patch.setattr(evaluate, "_evaluate", evaluated)
        for path in (candidate.report, candidate.model_card):
            path.unlink()
            run_stage("evaluate", config_of(copy_of_trained))
            path.write_bytes(written[path])
        run_stage("evaluate", config_of(copy_of_trained))
        assert len(asked) == 2, "the lost report, the lost card, and nothing when all is there"
    for path in written:
        path.unlink()
    assert run_stage("evaluate", config_of(copy_of_trained)).done > 0
    assert {path: path.read_bytes() for path in written} == written


def test_a_model_that_makes_no_mistake_needs_no_heat_map(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mistakes, "_overlays", None)
    right = ScoredImages.of(np.array([0, 1]), np.eye(3)[[0, 1]], ["a", "b"])
    candidate = candidate_of(trained, 1)
    assert mistakes.worst_mistakes(config_of(trained), candidate, pd.DataFrame(), right, ["benign", "malignant"]) == []


def test_without_a_trained_candidate_the_error_says_to_train(trained: Path) -> None:
    with pytest.raises(DataError, match="Run train first"):
        run_stage("evaluate", config_of(trained, epochs=7))
    assert not layout.candidate(trained / "models", "none").exists()


def test_metrics_that_cannot_be_read_are_measured_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    candidate = Candidate(tmp_path)
    for path in (candidate.report, candidate.model_card, candidate.picture_statistics):
        path.touch()
    metrics = metrics_record(key="now")
    metrics.write(candidate.metrics)
    assert evaluate._current_metrics(candidate, "now") == metrics
    assert evaluate._current_metrics(candidate, "before") is None
    candidate.metrics.write_text("{")
    assert evaluate._current_metrics(candidate, "now") is None
    assert str(candidate.metrics) in caplog.text
