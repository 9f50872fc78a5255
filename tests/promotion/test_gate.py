"""The gate, branch by branch: who passes, who does not, and what the verdict says of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.measured import known
from tests.model_house import House
from typer.testing import CliRunner

from skinlesion.command_line.models import models_app
from skinlesion.data.finding import Verdict as DataVerdict
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.approval_text import approval_text
from skinlesion.promotion.decide import judge_once
from skinlesion.promotion.gate import judge
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.model_files import H5
from skinlesion.registry.register import register
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import promote
from skinlesion.registry.verdict import Criterion, Verdict, read_verdict, verdict_path
from skinlesion.stages.settings import PipelineConfig

GOOD = {"benign": 0.85, "malignant": 0.85, "unknown": 0.85}


@pytest.fixture
def model_files(small_model: Path) -> Path:
    return small_model


def verdict_on(house: House, number: int, config: PipelineConfig | None = None) -> Verdict:
    return judge(config or house.config, Registry.read(house.models), number)


def line(verdict: Verdict, name: str) -> Criterion:
    return next(one for one in verdict.criteria if one.name == name)


def lost(verdict: Verdict) -> list[str]:
    assert verdict.passed == (not verdict.lost)
    for criterion in verdict.lost:
        assert criterion.sentence.endswith((".", "`."))
    return [criterion.name for criterion in verdict.lost]


def harmed(path: Path, harm: str) -> None:
    path.unlink() if harm == "missing" else path.write_bytes(b"other")


@pytest.fixture
def champion(house: House) -> int:
    number = house.add("champion")
    promote(house.models, number, actor="somebody", reason="the first")
    return number


def test_a_first_model_above_the_floors_passes(house: House) -> None:
    verdict = verdict_on(house, house.add("first"))
    assert lost(verdict) == []
    assert (verdict.against, verdict.against_run) == (None, None)
    assert (verdict.images, verdict.lesions) == (420, 420)
    beside = [one for one in verdict.criteria if one.name.endswith("_margin")]
    assert [one.sentence for one in beside] == ["No model is in service yet: the floors decide."] * 2
    assert [one.says for one in beside] == ["not compared"] * 2
    assert verdict.outcome == "passed"


@pytest.mark.parametrize(
    ("right", "floor", "said"),
    [
        ({"malignant": 0.7}, "min_sensitivity", "is 0.700; at least 0.8 is asked for"),
        ({"malignant": 0.8, "benign": 0.3, "unknown": 0.3}, "min_auroc", "at least 0.8 is asked for"),
    ],
)
def test_a_first_model_below_a_floor_does_not_pass(
    house: House, right: dict[str, float], floor: str, said: str
) -> None:
    verdict = verdict_on(house, house.add("first", house.scores(**right)))
    assert floor in lost(verdict)
    assert said in next(one.sentence for one in verdict.lost if one.name == floor)


def test_a_first_model_that_is_sure_and_wrong_does_not_pass(house: House) -> None:
    sure = np.where(house.scores() > 0.5, 0.998, 0.001)
    verdict = verdict_on(house, house.add("first", sure))
    assert lost(verdict) == ["max_calibration_error"]
    assert verdict.lost[0].numbers["calibration_error"] == pytest.approx(0.148, abs=0.003)


def test_a_calibrated_model_is_not_blamed_for_few_images(house: House) -> None:
    few = house.rows.groupby("label").head(8).reset_index(drop=True)
    house.hold_out(few)
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet((1, 1, 1), size=len(house.rows))
    verdict = verdict_on(house, house.add("first", probabilities))
    calibration = line(verdict, "max_calibration_error")
    by_chance, error = calibration.numbers["by_chance"], calibration.numbers["calibration_error"]
    assert isinstance(by_chance, float) and isinstance(error, float)
    assert by_chance > 0.1
    assert known(calibration.found) < error


@pytest.mark.parametrize(
    ("right", "expected"),
    [
        ({"benign": 0.9, "malignant": 0.9, "unknown": 0.9}, []),
        (GOOD, []),
        ({"benign": 0.84, "malignant": 0.84, "unknown": 0.84}, []),
        ({"benign": 0.5, "malignant": 0.85, "unknown": 0.5}, ["balanced_accuracy_margin"]),
        ({"benign": 1, "malignant": 0.7, "unknown": 1}, ["min_sensitivity", "sensitivity_margin"]),
        (
            {"benign": 0.6, "malignant": 0.6, "unknown": 0.6},
            ["min_sensitivity", "balanced_accuracy_margin", "sensitivity_margin"],
        ),
    ],
    ids=["better", "equal", "slightly worse", "less accurate", "more accurate and less sensitive", "worse"],
)
def test_a_candidate_beside_the_champion(
    house: House, champion: int, right: dict[str, float], expected: list[str]
) -> None:
    floors = house.settings(gate_min_auroc=0.5, gate_min_sensitivity=0.75, gate_max_calibration_error=1)
    verdict = verdict_on(house, house.add("candidate", house.scores(**right)), floors)
    assert lost(verdict) == expected
    assert (verdict.against, verdict.against_run) == (champion, "champion")
    accuracy = line(verdict, "balanced_accuracy_margin")
    assert accuracy.numbers["champion"] == pytest.approx(0.85)
    assert accuracy.numbers["candidate"] == pytest.approx(np.mean(list(right.values())), abs=0.002)
    assert accuracy.numbers["difference"] == pytest.approx(np.mean(list(right.values())) - 0.85, abs=0.002)


def test_few_lesions_leave_a_small_difference_open(house: House, champion: int) -> None:
    number = house.add("candidate", house.scores(benign=0.85, malignant=0.79, unknown=0.85))
    floors = {"gate_min_sensitivity": 0.7}
    verdict = verdict_on(house, number, house.settings(**floors))
    assert lost(verdict) == ["sensitivity_margin"]
    assert "Too few malignant lesions to judge: 120 held out" in verdict.lost[0].sentence
    assert verdict.outcome == "too few to judge"
    by_the_difference = house.settings(gate_confidence=0.5, gate_error_budget=1, **floors)
    assert lost(verdict_on(house, number, by_the_difference)) == []


def test_each_model_is_sensitive_at_its_own_threshold(house: House, champion: int) -> None:
    # Half of what it misses scores just below the likeliest class, and above its threshold.
    probabilities = house.scores(malignant=0.6)
    missed = np.flatnonzero((house.rows["label"] == "malignant") & (probabilities.argmax(axis=1) != 1))
    probabilities[missed] = [0.42, 0.4, 0.18]
    assert "sensitivity_margin" in lost(verdict_on(house, house.add("argmax", probabilities)))
    verdict = verdict_on(house, house.add("threshold", probabilities, threshold=0.35))
    sensitivity = line(verdict, "sensitivity_margin")
    assert sensitivity.passed
    assert sensitivity.numbers["candidate"] == 1


def test_no_malignant_lesion_held_out_means_no_promotion(house: House, champion: int) -> None:
    house.hold_out(house.rows[house.rows["label"] != "malignant"].reset_index(drop=True))
    verdict = verdict_on(house, house.add("candidate"))
    assert lost(verdict) == ["min_auroc", "min_sensitivity", "sensitivity_margin"]
    assert "Add labelled images" in verdict.lost[0].sentence


@pytest.mark.parametrize("file", ["skin_lesion_classifier_trained.h5", "model.keras", "model.tflite"])
@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_champion_whose_files_are_not_whole_cannot_be_compared_with(
    house: House, champion: int, harm: str, file: str
) -> None:
    harmed(house.candidate("champion").folder / file, harm)
    number = house.add("candidate")
    verdict = verdict_on(house, number)
    assert lost(verdict) == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert verdict.against == champion
    assert "are missing or altered" in verdict.lost[0].sentence
    assert f"skinlesion models promote {number}" in verdict.lost[0].sentence


def test_a_champion_whose_candidate_was_trained_again_is_not_stood_for_by_the_other_model(
    house: House, champion: int
) -> None:
    """A forced training to other bytes was compared with the next candidate as if it were in service."""
    house.replace_file("champion", H5, (house.candidate("champion").h5.read_bytes()) + b" ")
    verdict = verdict_on(house, house.add("candidate"))
    assert lost(verdict) == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert "are missing or altered" in verdict.lost[0].sentence


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_where_what_is_served_was_harmed_the_champion_is_asked_as_it_was_registered(
    house: House, champion: int, harm: str
) -> None:
    file = layout.model_in_service(house.models).resolve()
    file.chmod(0o644)
    harmed(file, harm)
    verdict = verdict_on(house, house.add("candidate", house.scores(malignant=0.6)))
    assert lost(verdict)[-2:] == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert verdict.lost[-1].numbers["champion"] == pytest.approx(0.85)
    # So the version itself, which is no worse than itself, can be put there anew.
    assert lost(verdict_on(house, champion)) == []


def test_a_release_that_is_gone_does_not_make_the_next_model_a_first_one(house: House, champion: int) -> None:
    layout.release_in_service(house.models).unlink()
    verdict = verdict_on(house, house.add("candidate"))
    assert lost(verdict) == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert "are missing" in verdict.lost[0].sentence


@pytest.mark.parametrize("classes", [("benign", "malignant"), ("malignant", "benign", "unknown"), ()])
def test_a_candidate_of_other_classes_does_not_pass(house: House, champion: int, classes: tuple[str, ...]) -> None:
    verdict = verdict_on(house, house.add("candidate", classes=classes))
    assert lost(verdict) == ["classes"]
    assert "expected benign, malignant, unknown" in verdict.lost[0].sentence


def test_a_champion_of_other_classes_cannot_be_compared_with(house: House) -> None:
    number = house.add("other", classes=("benign", "malignant"))
    promote(house.models, number, actor="somebody", reason="a test")
    verdict = verdict_on(house, house.add("candidate"))
    assert lost(verdict) == ["balanced_accuracy_margin", "sensitivity_margin"]
    assert "knows the classes benign, malignant" in verdict.lost[0].sentence


@pytest.mark.parametrize("harm", ["missing", "altered", "trained again"])
def test_a_candidate_whose_files_are_not_those_that_were_registered_does_not_pass(house: House, harm: str) -> None:
    number = house.add("candidate")
    file = house.candidate("candidate").tflite
    if harm == "trained again":
        house.replace_file("candidate", file.name, b"other")
    else:
        harmed(file, harm)
    assert lost(verdict_on(house, number)) == ["files_whole"]


def h5_with(weight: float, house: House, folder: Path) -> bytes:
    """Return a .h5 file of the house's model with another weight."""
    from skinlesion.network.classifier import load_classifier, save_model

    model = load_classifier(house.model_files / "model.keras")
    model.layers[-1].set_weights([np.full((3, 3), [weight, 0.0, -2.0]), np.array([1.0, 0.0, -1.0])])
    save_model(model, folder / "another.h5")
    return (folder / "another.h5").read_bytes()


@pytest.mark.parametrize(
    ("weight", "least", "said"),
    [(2.0, 0.01, "give probabilities within"), (float("nan"), float("inf"), "within inf"), (None, None, "not reload")],
    ids=["disagrees", "gives no numbers", "does not load"],
)
def test_a_candidate_with_a_file_that_disagrees_or_does_not_load_does_not_pass(
    house: House, tmp_path: Path, weight: float | None, least: float | None, said: str
) -> None:
    house.add("candidate")
    content = b"no model" if weight is None else h5_with(weight, house, tmp_path)
    candidate = house.replace_file("candidate", H5, content)
    verdict = verdict_on(house, register(house.models, candidate, MetricsRecord.read(candidate.metrics)).number)
    assert lost(verdict) == ["max_file_difference"]
    assert said in verdict.lost[0].sentence
    assert least is None or known(verdict.lost[0].found) >= least


@pytest.mark.parametrize(
    ("verdict_of_data", "required", "expected"),
    [
        ("passed", True, []),
        ("accepted", True, []),
        ("failed", True, ["require_data_checks"]),
        (None, True, ["require_data_checks"]),
        (None, False, []),
    ],
)
def test_the_datas_checks_count(
    house: House, verdict_of_data: DataVerdict | None, required: bool, expected: list[str]
) -> None:
    number = house.add("candidate", data_verdict=verdict_of_data)
    assert lost(verdict_on(house, number, house.settings(gate_require_data_checks=required))) == expected


def test_figures_that_are_missing_or_cannot_be_read_do_not_count_as_passed_data_checks(house: House) -> None:
    number = house.add("candidate")
    path = house.candidate("candidate").metrics
    path.write_text(path.read_text().replace('"verdict": "passed"', '"verdict": 7'))
    unreadable = verdict_on(house, number)
    path.unlink()
    missing = verdict_on(house, number)
    assert lost(unreadable) == lost(missing) == ["require_data_checks"]
    assert str(path) in unreadable.lost[0].sentence and "`data.report.verdict`" in unreadable.lost[0].sentence
    assert "No data report belongs to this version" in missing.lost[0].sentence


@pytest.mark.parametrize(
    ("bound", "name"), [({"gate_max_size": 0.001}, "max_size"), ({"gate_max_latency": 1e-6}, "max_latency")]
)
def test_a_model_that_is_too_large_or_too_slow_does_not_pass(house: House, bound: dict[str, Any], name: str) -> None:
    verdict = verdict_on(house, house.add("candidate"), house.settings(**bound))
    assert lost(verdict) == [name]
    assert verdict.lost[0].found is not None
    assert verdict.lost[0].found > next(iter(bound.values()))


def test_the_latency_is_the_median_of_one_image(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr("skinlesion.promotion.gate.time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    number = house.add("candidate")
    found = next(one.found for one in verdict_on(house, number).criteria if one.name == "max_latency")
    assert found == 1000


def test_bounds_that_let_everything_through_do_so_where_nothing_can_be_measured_too(
    house: House, champion: int
) -> None:
    house.hold_out(house.rows[house.rows["label"] != "malignant"].reset_index(drop=True))
    number = house.add("candidate")
    assert lost(verdict_on(house, number, house.settings(gate_min_auroc=0, gate_min_sensitivity=0))) == [
        "sensitivity_margin"
    ]
    everything = house.settings(gate_min_auroc=0, gate_min_sensitivity=0, gate_sensitivity_margin=1)
    assert lost(verdict_on(house, number, everything)) == []


def test_without_held_out_images_nothing_is_judged(house: House) -> None:
    number = house.add("candidate")
    house.hold_out(house.rows.assign(split="train"))
    with pytest.raises(DataError):
        verdict_on(house, number)


def test_a_verdict_is_stored_with_its_version_and_read_back(house: House, champion: int) -> None:
    number = house.add("candidate", house.scores(malignant=0.5))
    verdict = verdict_on(house, number)
    verdict.write(verdict_path(house.models, "candidate"))
    assert read_verdict(house.models, "candidate", number) == verdict
    assert read_verdict(house.models, "candidate", number + 1) is None
    assert json.loads((house.candidate("candidate").folder / "verdict.json").read_text())["passed"] is False


def test_who_is_asked_to_approve_reads_the_figures_of_both_models(house: House, champion: int) -> None:
    judgement = judge_once(house.config, house.add("candidate", house.scores(malignant=0.9)), actor="ann")
    text = approval_text(Registry.read(house.models), judgement, "http://localhost/report.html")
    assert "| Balanced accuracy | 0.867 (0.800–0.900) | 0.850 (0.800–0.900) |" in text
    assert "[The report](http://localhost/report.html)" in text
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert any(line.startswith("- The sensitivity for malignant is 0.900, version 1 has 0.850") for line in lines)


def test_who_is_asked_about_a_first_model_reads_each_line_once(house: House) -> None:
    judgement = judge_once(house.config, house.add("first"), actor="ann")
    text = approval_text(Registry.read(house.models), judgement, "http://localhost/report.html")
    assert "(no model is in service)" in text
    assert text.count("No model is in service yet: the floors decide.") == 1


def few_malignant(house: House, count: int) -> None:
    is_malignant = house.rows["label"] == "malignant"
    rows = pd.concat([house.rows[~is_malignant], house.rows[is_malignant].head(count)])
    house.hold_out(rows.reset_index(drop=True))


@pytest.mark.parametrize(("lesions", "outcome"), [(7, "passed provisionally"), (40, "passed")])
def test_a_first_model_whose_floors_rest_on_few_lesions_is_provisional(
    house: House, lesions: int, outcome: str
) -> None:
    """Seven malignant lesions put a first model in service as plainly passed."""
    few_malignant(house, lesions)
    scores = np.where(house.scores(benign=1, malignant=1, unknown=1) > 0.5, 0.92, 0.04)
    number = house.add("first", scores)
    judgement = judge_once(house.config, number, actor="ann")
    verdict = known(read_verdict(house.models, "first", number))
    assert (verdict.outcome, verdict.passed, judgement.next) == (outcome, True, "switch")
    is_provisional = outcome != "passed"
    assert ("provisionally" in judgement.sentence) == ("provisionally" in judgement.reason) == is_provisional
    floor = line(verdict, "min_sensitivity")
    assert floor.says == ("too few to judge" if is_provisional else "yes")
    assert (f"Too few malignant lesions to judge: {lesions} held out" in floor.sentence) == is_provisional
    promote(house.models, number, actor="ann", reason=judgement.reason)
    version = Registry.read(house.models).version(number)
    assert version.standing == ("champion, provisional" if is_provisional else "champion")
    listed = CliRunner().invoke(models_app, ["list", "--models", str(house.models)], env={"COLUMNS": "200"}).output
    assert ("champion, provisional" in listed) == is_provisional


@pytest.mark.parametrize("lesions", [1, 2, 7])
def test_beside_a_model_in_service_nothing_passes_by_too_few_lesions(house: House, champion: int, lesions: int) -> None:
    """All resamples of one lesion are alike, so the gate was 90 % sure of a difference of 0."""
    few_malignant(house, lesions)
    number = house.add("candidate", house.scores(benign=1, malignant=1, unknown=1))
    verdict = verdict_on(house, number, house.settings(gate_max_calibration_error=1))
    assert (verdict.passed, verdict.outcome) == (False, "too few to judge")
    assert set(lost(verdict)) <= {"min_auroc", "min_sensitivity", "sensitivity_margin", "balanced_accuracy_margin"}
    assert {one.says for one in verdict.lost} == {"too few to judge"}
    assert f"Too few malignant lesions to judge: {lesions} held out" in line(verdict, "sensitivity_margin").sentence
