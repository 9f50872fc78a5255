"""Two models are compared on the same lesions, in the report as at the gate, and chance is called chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.interval_coverage import lesions_of, simulated
from tests.measured import known

from skinlesion.evaluation.lesion_bootstrap import bca
from skinlesion.evaluation.metrics import draw_figures
from skinlesion.evaluation.paired import Decided, compare, paired_differences
from skinlesion.evaluation.scored_images import ScoredImages

NEW, OLD = simulated(3, lesions_of(0.4))


def test_the_difference_is_that_of_the_figures_and_the_better_model_is_called_better() -> None:
    found = paired_differences(NEW, OLD, (0.12, 0.12))
    new, old = (draw_figures(model, 0.12, resamples=0) for model in (NEW, OLD))
    for name, row in found.items():
        assert row.difference == pytest.approx(new[name].point - old[name].point)
        low, high = known(row.interval)
        assert low < row.difference < high
    assert found["malignant_auroc"].verdict == "better"
    assert known(found["malignant_auroc"].resamples_better) > 0.97
    back = paired_differences(OLD, NEW, (0.12, 0.12))
    assert back["malignant_auroc"].verdict == "worse"


def test_the_report_and_the_gate_have_the_same_differences_and_the_reports_interval_is_no_narrower() -> None:
    rows = paired_differences(NEW, OLD, (0.4, 0.4))
    names = NEW.groups.astype(str)
    decided = (Decided.of(NEW.probabilities, 0.4), Decided.of(OLD.probabilities, 0.4))
    bounds = compare(NEW.labels, names, *decided, confidence=0.975)
    for name, bound in zip(("balanced_accuracy", "sensitivity"), bounds, strict=True):
        interval = rows[name].interval
        assert bound.difference == rows[name].difference
        assert interval is not None and bound.lower is not None
        assert interval[0] <= bound.lower + 1e-12


def test_pairing_makes_the_interval_narrower_than_two_separate_ones() -> None:
    paired = paired_differences(NEW, OLD, (0.12, 0.12))["malignant_auroc"].interval
    apart = [bca(draw_figures(model, 0.12)["malignant_auroc"]) for model in (NEW, OLD)]
    width, one, other = (high - low for low, high in map(known, [paired, *apart]))
    assert width < 0.8 * np.hypot(one, other)


def test_a_model_beside_itself_shows_no_difference() -> None:
    for row in paired_differences(NEW, NEW, (0.1, 0.1)).values():
        assert (row.difference, row.interval, row.verdict) == (0, [0, 0], "no clear difference")


def test_a_smaller_calibration_error_is_better() -> None:
    sure = np.eye(3)[OLD.predicted] * 0.97 + 0.01
    found = paired_differences(NEW, replace(NEW, probabilities=sure), (0.12, 0.12))["expected_calibration_error"]
    assert found.difference < 0
    assert (found.verdict, found.resamples_better) == ("better", 1)


def test_one_lesion_gives_differences_without_intervals() -> None:
    one = ScoredImages.of(np.array([0, 0]), np.eye(3)[[0, 1]], ["a", "a"])
    other = replace(one, probabilities=np.eye(3)[[0, 0]])
    found = paired_differences(one, other, (0.5, 0.5))
    assert "malignant_auroc" not in found and "sensitivity" not in found
    assert found["accuracy"].difference == -0.5
    assert (found["accuracy"].interval, found["accuracy"].verdict) == (None, "cannot be told")


def test_other_lesions_are_refused() -> None:
    with pytest.raises(ValueError, match="same images"):
        paired_differences(NEW, simulated(4, lesions_of(0.4))[0], (0.12, 0.12))
