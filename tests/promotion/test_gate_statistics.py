"""How often the comparison lets candidates pass; benchmarks/gate_simulation.py has more cases and finer bounds."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.creep import KINDS, POLICIES, Kind, flattery, run
from benchmarks.gate_simulation import CASES, Case, passing_share, worse_cases

from skinlesion.evaluation.paired import Decided, compare


@pytest.mark.parametrize("draws", [20, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.drop != 0.05 and case.correlation == 0.6], ids=lambda case: case.name
)
def test_equal_candidates_pass_and_less_sensitive_ones_do_not(case: Case, draws: int) -> None:
    share = passing_share(case, draws=draws)
    assert share >= 0.9 if case.drop == 0 else share <= 0.05


@pytest.mark.parametrize("case", worse_cases((1, 5, 30)), ids=lambda case: case.name)
def test_a_much_worse_candidate_passes_as_seldom_with_few_lesions_as_with_many(case: Case) -> None:
    """With one malignant lesion 77 of 100 such candidates passed."""
    assert passing_share(case, draws=20) <= 0.1


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_model_in_service_does_not_sink_and_still_improves(kind: Kind) -> None:
    sizes = (
        {"histories": 40, "nights": 365, "lesions": 300}
        if kind.turn is None
        else {"histories": 40, "nights": 250, "lesions": 300}
    )
    before, now = (run(kind, policy, **sizes) for policy in (POLICIES[0], POLICIES[-1]))
    assert now.violated <= 0.1
    if kind.step < 0 or kind.turn is not None:
        assert before.violated >= 0.9
    if kind.step > 0 and kind.turn is None:
        assert now.gain >= 0.8 * before.gain > 0.2


def test_choosing_by_the_nightly_lesions_flatters_there_and_not_on_others() -> None:
    for policy in POLICIES[::2]:
        found = flattery(policy, histories=12, nights=40, lesions=240, sealed=60)
        assert found.nightly >= 0.03
        assert abs(found.sealed) <= max(0.02, 3 * found.standard_error)


def decided(predicted: list[int], positive: list[bool]) -> Decided:
    return Decided(np.array(predicted), np.array(positive))


def test_images_of_a_lesion_count_as_what_they_are_worth() -> None:
    labels = np.array([0, 1] * 20)
    right, wrong = decided([0, 1] * 20, [False, True] * 20), decided([0, 0] * 20, [False, False] * 20)
    half = decided([0, 1, 0, 0] * 10, [False, True, False, False] * 10)
    apart, _ = compare(labels, list(range(40)), half, right, confidence=0.95)
    together, _ = compare(labels, [number // 4 for number in range(40)], half, right, confidence=0.95)
    alike, _ = compare(labels, [number // 2 % 2 for number in range(40)], half, right, confidence=0.95)
    assert apart.difference == together.difference == alike.difference == pytest.approx(-0.25)
    assert alike.lower < apart.lower < -0.3
    assert together.lower <= -0.25
    _, sensitivity = compare(labels, list(range(40)), wrong, right, confidence=0.95)
    assert sensitivity is not None
    assert sensitivity.difference == sensitivity.lower == -1


@pytest.mark.parametrize(("lesions", "is_enough"), [(1, False), (10, False), (27, False), (28, True), (100, True)])
def test_models_that_agree_everywhere_are_shown_to_be_alike_only_by_enough_lesions(
    lesions: int, is_enough: bool
) -> None:
    same = decided([1] * lesions, [True] * lesions)
    names = [str(number) for number in range(lesions)]
    for difference in compare(np.ones(lesions, dtype=np.int64), names, same, same, confidence=0.9):
        assert difference is not None
        assert (difference.difference, difference.lesions) == (0, lesions)
        assert (difference.lower >= -0.08) == is_enough


def test_without_a_malignant_lesion_there_is_no_sensitivity() -> None:
    some = decided([0, 2], [False, False])
    accuracy, sensitivity = compare(np.array([0, 2]), ["a", "b"], some, some, confidence=0.9)
    assert (accuracy.difference, accuracy.lesions) == (0, 1)
    assert sensitivity is None


def test_a_threshold_of_its_own_decides_what_is_called_malignant() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    assert Decided.of(probabilities, 0.5).positive.tolist() == [False, True]
    assert Decided.of(probabilities, 0.3).positive.tolist() == [True, True]
    assert Decided.of(probabilities, 0.3).predicted.tolist() == [0, 1]
