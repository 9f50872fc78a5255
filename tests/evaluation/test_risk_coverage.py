"""What not answering wins, in the order in which the model is sure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from tests.measured import known

from skinlesion.evaluation.risk_coverage import risk_coverage
from skinlesion.evaluation.scored_images import ScoredImages


def scored(n: int = 600, seed: int = 0, classes: int = 3) -> ScoredImages:
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return ScoredImages.of(labels, probabilities, [str(at // 2) for at in range(n)])


def test_leaving_out_the_least_certain_gains_what_the_rest_has_more() -> None:
    images = scored()
    found = risk_coverage(images)
    kept = np.argsort(-images.confidence, kind="stable")[:480]
    gain = balanced_accuracy_score(images.labels[kept], images.predicted[kept]) - balanced_accuracy_score(
        images.labels, images.predicted
    )
    assert found.gain.balanced_accuracy == pytest.approx(gain)
    assert found.gain.abstained == pytest.approx(0.2)
    low, high = known(found.gain.interval)
    assert 0 < low < gain < high
    assert found.gain.error == pytest.approx(np.mean(~images.right) - np.mean(~images.right[kept]))


def test_the_curve_ends_with_all_images_and_its_area_is_the_mean_error() -> None:
    images = scored()
    found = risk_coverage(images)
    last = found.curve[-1]
    assert last.coverage == 1
    assert last.error == pytest.approx(np.mean(~images.right))
    assert last.balanced_accuracy == pytest.approx(balanced_accuracy_score(images.labels, images.predicted))
    wrong = ~images.right[np.argsort(-images.confidence, kind="stable")]
    assert found.area == pytest.approx(np.mean(np.cumsum(wrong) / np.arange(1, 601)))
    coverages = [row.coverage for row in found.curve]
    assert coverages == sorted(coverages) and len(coverages) == 50


def test_another_confidence_keeps_other_images() -> None:
    images = scored()
    informed = np.where(images.right, 1.0, 0.0)
    found = risk_coverage(images, informed)
    assert found.curve[len(found.curve) // 2].error == 0
    assert known(found.gain.balanced_accuracy) > known(risk_coverage(images).gain.balanced_accuracy)


def test_a_class_that_the_kept_images_lack_makes_no_figure() -> None:
    images = scored()
    unsure_of_unknown = np.where(images.labels == 2, 0.0, 1.0)
    found = risk_coverage(images, unsure_of_unknown)
    assert found.curve[0].balanced_accuracy is None
    assert found.curve[-1].balanced_accuracy is not None


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (3, 3), (40, 1), (40, 2)])
def test_tiny_and_one_sided_sets_stay_plain_json(n: int, classes: int) -> None:
    found = risk_coverage(scored(n, classes=classes), resamples=50)
    assert type(found).model_validate_json(found.model_dump_json()) == found
    assert found.curve[-1].coverage == 1
