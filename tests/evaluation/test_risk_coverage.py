"""What not answering wins, in the order in which the model is sure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from tests.evaluation.simulated import scored
from tests.measured import known

from skinlesion.evaluation.risk_coverage import risk_coverage

IMAGES = scored(600, lesions=300)


def test_leaving_out_the_least_certain_gains_what_the_rest_has_more() -> None:
    found = risk_coverage(IMAGES, IMAGES.confidence)
    kept = np.argsort(-IMAGES.confidence, kind="stable")[:480]
    before = balanced_accuracy_score(IMAGES.labels, IMAGES.predicted)
    gain = balanced_accuracy_score(IMAGES.labels[kept], IMAGES.predicted[kept]) - before
    assert found.gain.balanced_accuracy == pytest.approx(gain)
    assert found.gain.abstained == pytest.approx(0.2)
    low, high = known(found.gain.interval)
    assert 0 < low < gain < high
    assert found.gain.error == pytest.approx(np.mean(~IMAGES.right) - np.mean(~IMAGES.right[kept]))


def test_the_curve_ends_with_all_images_and_its_area_is_the_mean_error() -> None:
    found = risk_coverage(IMAGES, IMAGES.confidence)
    last = found.curve[-1]
    assert last.coverage == 1
    assert last.error == pytest.approx(np.mean(~IMAGES.right))
    assert last.balanced_accuracy == pytest.approx(balanced_accuracy_score(IMAGES.labels, IMAGES.predicted))
    wrong = ~IMAGES.right[np.argsort(-IMAGES.confidence, kind="stable")]
    assert found.area == pytest.approx(np.mean(np.cumsum(wrong) / np.arange(1, 601)))
    coverages = [row.coverage for row in found.curve]
    assert coverages == sorted(coverages) and len(coverages) == 50


def test_another_confidence_keeps_other_images() -> None:
    informed = np.where(IMAGES.right, 1.0, 0.0)
    found = risk_coverage(IMAGES, informed)
    assert found.curve[len(found.curve) // 2].error == 0
    assert known(found.gain.balanced_accuracy) > known(risk_coverage(IMAGES, IMAGES.confidence).gain.balanced_accuracy)


def test_a_class_that_the_kept_images_lack_makes_no_figure() -> None:
    unsure_of_unknown = np.where(IMAGES.labels == 2, 0.0, 1.0)
    found = risk_coverage(IMAGES, unsure_of_unknown)
    assert found.curve[0].balanced_accuracy is None
    assert found.curve[-1].balanced_accuracy is not None


@pytest.mark.parametrize(("n", "classes"), [(1, 1), (3, 3), (40, 1), (40, 2)])
def test_tiny_and_one_sided_sets_stay_plain_json(n: int, classes: int) -> None:
    images = scored(n, classes=classes)
    found = risk_coverage(images, images.confidence, resamples=50)
    assert type(found).model_validate_json(found.model_dump_json()) == found
    assert found.curve[-1].coverage == 1
