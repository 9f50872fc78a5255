"""Two models are compared on the same lesions, in the report as at the gate, and chance is called chance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.interval_coverage import lesions_of, simulated
from tests.measured import known

from skinlesion.evaluation.lesion_bootstrap import bca
from skinlesion.evaluation.metrics import draw_figures, measure
from skinlesion.evaluation.operating_point import operating_shares
from skinlesion.evaluation.paired import Decided, compare, paired_differences
from skinlesion.evaluation.scored_images import ScoredImages

NEW, OLD = simulated(3, lesions_of(0.4))


def test_the_difference_is_that_of_the_figures_and_the_better_model_is_called_better() -> None:
    found = paired_differences(NEW, OLD, (0.12, 0.12))
    new, old = (measure(model, threshold=0.12, resamples=0) for model in (NEW, OLD))
    for name in ("balanced_accuracy", "malignant_auroc", "macro_f1", "accuracy", "expected_calibration_error"):
        assert found[name].difference == pytest.approx(getattr(new, name) - getattr(old, name))
    for name, share in operating_shares(NEW, 0.12).items():
        assert found[name].difference == pytest.approx(share.point - operating_shares(OLD, 0.12)[name].point)
    for row in found.values():
        low, high = known(row.interval)
        assert low < row.difference < high
    assert found["malignant_auroc"].verdict == "better"
    back = paired_differences(OLD, NEW, (0.12, 0.12))
    assert back["malignant_auroc"].verdict == "worse"


def test_the_report_and_the_gate_have_the_same_differences_and_bounds() -> None:
    rows = paired_differences(NEW, OLD, (0.4, 0.4))
    names = NEW.groups.astype(str)
    decided = (Decided.of(NEW.probabilities, 0.4), Decided.of(OLD.probabilities, 0.4))
    bounds = compare(NEW.labels, names, *decided, confidence=0.975)
    for name, bound in zip(("balanced_accuracy", "sensitivity"), bounds, strict=True):
        assert bound is not None
        assert bound.difference == rows[name].difference
        assert bound.lower == pytest.approx(known(rows[name].interval)[0])


def test_pairing_makes_the_interval_narrower_than_two_separate_ones() -> None:
    paired = paired_differences(NEW, OLD, (0.12, 0.12))["malignant_auroc"].interval
    apart = [bca(draw_figures(model)["malignant_auroc"]) for model in (NEW, OLD)]
    width, one, other = (high - low for low, high in map(known, [paired, *apart]))
    assert width < 0.8 * np.hypot(one, other)


def test_a_model_beside_itself_shows_no_difference_as_surely_as_the_lesions_are_many() -> None:
    for images in (NEW, NEW.part(np.arange(0, len(NEW), 10))):
        rows = paired_differences(images, images, (0.1, 0.1))
        assert {row.difference for row in rows.values()} == {0}
        assert {row.verdict for row in rows.values()} == {"no clear difference"}
        lesions = images.lesions_of(images.malignant)
        low, high = known(rows["sensitivity"].interval)
        assert low == pytest.approx(0.025 ** (1 / lesions) - 1, rel=0.4)
        assert high == -low


def test_a_smaller_calibration_error_is_better() -> None:
    sure = np.eye(3)[OLD.predicted] * 0.97 + 0.01
    found = paired_differences(NEW, replace(NEW, probabilities=sure), (0.12, 0.12))["expected_calibration_error"]
    assert found.difference < 0
    assert found.verdict == "better"


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
