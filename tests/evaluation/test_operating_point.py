"""What a threshold fixed beforehand finds, with intervals."""

from __future__ import annotations

import numpy as np
import pytest
from tests.measured import known

from skinlesion.evaluation.operating_point import operating_point
from skinlesion.evaluation.scored_images import ScoredImages


def scored(malignant: list[float], others: list[float], lesions: list[int] | None = None) -> ScoredImages:
    """Return images with these probabilities of malignant."""
    scores = np.array(malignant + others)
    labels = np.array([1] * len(malignant) + [0] * len(others))
    names = [str(at) for at in (lesions or range(len(scores)))]
    return ScoredImages.of(labels, np.stack([1 - scores, scores, np.zeros(len(scores))], axis=1), names)


IMAGES = scored([0.9, 0.8, 0.5, 0.1] * 10, [0.7, 0.3, 0.2, 0.1, 0.05] * 20)


def test_a_score_at_the_threshold_is_called_malignant() -> None:
    found = operating_point(IMAGES, 0.5, 0.95)
    assert (found.threshold, found.target_sensitivity) == (0.5, 0.95)
    assert (found.sensitivity, found.specificity) == (0.75, 0.8)
    assert (found.caught, found.missed, found.called_malignant) == (30, 10, 50)
    low, high = known(found.intervals["sensitivity"])
    assert low < 0.75 < high


def test_finding_every_malignant_lesion_is_no_certainty() -> None:
    found = operating_point(scored([0.9] * 20, [0.1, 0.2, 0.6] * 20), 0.5, 0.95)
    assert found.sensitivity == 1
    low, high = known(found.intervals["sensitivity"])
    assert low == pytest.approx(0.839, abs=1e-3)
    assert high == 1


@pytest.mark.parametrize(
    ("malignant", "others", "known", "unknown"),
    [([0.9, 0.2], [], "sensitivity", "specificity"), ([], [0.9, 0.2], "specificity", "sensitivity")],
)
def test_a_missing_side_is_not_measured(malignant: list[float], others: list[float], known: str, unknown: str) -> None:
    found = operating_point(scored(malignant, others), 0.5, 0.95)
    assert getattr(found, known) == 0.5 and found.intervals[known] is not None
    assert getattr(found, unknown) is found.intervals[unknown] is None


def test_a_single_lesion_gives_no_interval() -> None:
    found = operating_point(scored([0.9, 0.1, 0.9], [0.1, 0.9], [0, 0, 0, 1, 2]), 0.5, 0.95)
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.intervals["sensitivity"] is None
    assert found.intervals["specificity"] is not None


def test_a_threshold_that_calls_nothing_malignant_finds_none() -> None:
    found = operating_point(IMAGES, 0.99, 0.95)
    assert (found.sensitivity, found.specificity) == (0, 1)
