"""The figures agree with scikit-learn, stay defined on odd data, and their intervals cover the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as reference
from tests.evaluation.simulated import scored
from tests.measured import known, measure_rows

from skinlesion.evaluation.metrics import draw_figures, measure
from skinlesion.evaluation.operating_point import operating_shares
from skinlesion.foundation.errors import DataError
from skinlesion.registry.metrics_record import ClassFigures

BENIGN, MALIGNANT, UNKNOWN = 0, 1, 2


def one_hot(predicted: list[int]) -> npt.NDArray[np.float64]:
    return np.eye(3)[predicted]


def test_the_figures_equal_those_of_scikit_learn() -> None:
    images = scored(300)
    labels, predicted, malignant = images.labels, images.predicted, images.malignant
    probabilities = images.probabilities
    measured = measure(images, threshold=0.5, resamples=50)
    assert measured.balanced_accuracy == pytest.approx(reference.balanced_accuracy_score(labels, predicted))
    assert measured.malignant_auroc == pytest.approx(reference.roc_auc_score(malignant, probabilities[:, 1]))
    assert measured.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert measured.macro_f1 == pytest.approx(reference.f1_score(labels, predicted, average="macro"))
    assert measured.log_loss == pytest.approx(reference.log_loss(labels, probabilities))
    assert measured.confusion_matrix == reference.confusion_matrix(labels, predicted).tolist()
    report = reference.classification_report(labels, predicted, output_dict=True)
    for index, label in enumerate(("benign", "malignant", "unknown")):
        found = measured.per_class[label]
        expected = [report[str(index)][name] for name in ("precision", "recall", "f1-score", "support")]
        assert [found.precision, found.recall, found.f1, found.support] == pytest.approx(expected)
    assert (measured.images, measured.lesions) == (300, images.lesions)
    drawn = draw_figures(images, resamples=0)
    for name in ("malignant_auroc", "macro_f1", "expected_calibration_error"):
        assert drawn[name].point == pytest.approx(getattr(measured, name))
    called = probabilities[:, MALIGNANT] >= 0.3
    shares = operating_shares(images, 0.3)
    assert shares["sensitivity"].point == pytest.approx(reference.recall_score(malignant, called))
    assert shares["specificity"].point == pytest.approx(reference.recall_score(~malignant, ~called))


def test_equal_scores_give_an_auroc_of_one_half() -> None:
    labels = np.array([0, 0, 1, 1, 1, 2])
    measured = measure_rows(labels, np.full((6, 3), 1 / 3), list("abcdef"), resamples=100)
    assert measured.malignant_auroc == 0.5
    assert measured.intervals["malignant_auroc"] == [0.5, 0.5]


def test_images_of_one_lesion_widen_the_interval() -> None:
    images = scored(100, seed=6)
    labels, probabilities = np.repeat(images.labels, 4), np.repeat(images.probabilities, 4, axis=0)

    def width(images_of_a_lesion: int) -> float:
        lesions = [str(at // images_of_a_lesion) for at in range(400)]
        low, high = known(measure_rows(labels, probabilities, lesions).intervals["accuracy"])
        return high - low

    assert width(4) > 1.5 * width(1)


def test_equal_input_and_seed_give_equal_figures_in_any_order_of_rows() -> None:
    images = scored(300, seed=7)
    names = [str(group) for group in images.groups]
    measured, again, turned = (
        measure_rows(images.labels[::step], images.probabilities[::step], names[::step], resamples=100)
        for step in (1, 1, -1)
    )
    assert measured == again
    assert measured.intervals == turned.intervals
    assert measured.confusion_matrix == turned.confusion_matrix


def test_an_absent_class_is_left_out_of_the_means_and_named_in_a_warning() -> None:
    labels = np.array([0, 0, 1, 1])
    measured = measure_rows(labels, one_hot([0, 2, 1, 1]), list("abcd"), resamples=20)
    assert measured.balanced_accuracy == 0.75
    assert measured.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert measured.per_class["unknown"] == ClassFigures(precision=0.0, recall=None, f1=0.0, support=0, lesions=0)
    assert "No held-out image is of class unknown: its recall is not measured." in measured.warnings
    assert any("Only 2 lesions of class malignant are held out" in sentence for sentence in measured.warnings)


@pytest.mark.parametrize("label", [BENIGN, MALIGNANT, UNKNOWN])
def test_one_class_alone_gives_no_auroc_and_no_roc(label: int) -> None:
    measured = measure_rows(np.full(5, label), one_hot([0, 1, 2, 0, 1]), list("abcde"), resamples=20)
    assert measured.malignant_auroc is None
    assert measured.specificity_at_95_sensitivity is None
    assert (measured.roc.fpr, measured.roc.tpr) == ([], [])
    assert measured.intervals["malignant_auroc"] is None
    assert any("malignant AUROC" in sentence for sentence in measured.warnings)


def test_a_single_lesion_gives_figures_without_intervals() -> None:
    measured = measure_rows(np.array([1, 1, 1]), one_hot([1, 1, 0]), ["a", "a", "a"], resamples=20)
    assert measured.accuracy == pytest.approx(2 / 3)
    assert all(interval is None for interval in measured.intervals.values())
    assert (measured.images, measured.lesions) == (3, 1)


def test_a_class_with_a_single_lesion_gives_no_interval_for_figures_that_rest_on_it() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    measured = measure_rows(labels, one_hot([0, 0, 1, 0, 1]), list("abcde"), resamples=50)
    assert measured.intervals["balanced_accuracy"] is None
    assert measured.intervals["malignant_auroc"] is None
    assert measured.intervals["accuracy"] is not None
    assert any("Only 1 lesion of class malignant" in sentence for sentence in measured.warnings)


def test_a_class_that_is_never_predicted_is_named_in_a_warning() -> None:
    measured = measure_rows(np.array([0, 1, 2]), one_hot([0, 1, 1]), list("abc"), resamples=0)
    assert measured.per_class["unknown"].precision is None
    assert any("calls no held-out image unknown" in sentence for sentence in measured.warnings)
    assert measured.intervals["balanced_accuracy"] is measured.intervals["malignant_auroc"] is None


def test_the_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.tile([0.8, 0.2, 0.0], (10, 1))
    labels = np.array([0] * 6 + [1] * 4)
    measured = measure_rows(labels, probabilities, [str(at) for at in range(10)], resamples=0)
    assert measured.expected_calibration_error == pytest.approx(0.2)
    bins = measured.reliability
    assert len(bins) == 15
    (filled,) = [part for part in bins if part.count]
    assert filled.low < 0.8 <= filled.high + 1e-12
    assert (filled.count, filled.accuracy) == (10, 0.6)
    assert filled.confidence == pytest.approx(0.8)


def test_the_roc_is_thinned_and_keeps_its_ends_and_area() -> None:
    measured = measure(scored(3000, seed=8), threshold=0.5, resamples=0)
    roc = measured.roc
    assert len(roc.fpr) == len(roc.tpr) <= 200
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(roc.tpr, roc.fpr) == pytest.approx(measured.malignant_auroc, abs=0.002)


def test_the_specificity_is_the_best_that_keeps_95_of_100_malignant_images() -> None:
    scores = np.concatenate([np.linspace(0.01, 1, 100), np.array([0.04, 0.05, 0.055, 0.065])])
    labels = np.array([1] * 100 + [0] * 4)
    probabilities = np.stack([1 - scores, scores, np.zeros(104)], axis=1)
    measured = measure_rows(labels, probabilities, [str(at) for at in range(104)], resamples=0)
    # 95 of the malignant images score 0.06 or more; three of four benign ones score less.
    assert measured.specificity_at_95_sensitivity == pytest.approx(0.75)


def test_no_image_is_the_users_error() -> None:
    with pytest.raises(DataError, match="no held-out image"):
        measure_rows(np.empty(0, dtype=np.int64), np.empty((0, 3)), [])


@pytest.mark.parametrize("row", [[np.nan, 0.5, 0.5], [np.inf, -np.inf, 0.5], [-0.1, 0.6, 0.5], [0.5, 0.6, 0.5]])
def test_impossible_probabilities_are_refused_with_the_row(row: list[float]) -> None:
    probabilities = one_hot([0, 1, 2])
    probabilities[1] = row
    with pytest.raises(ValueError, match="1 of 3 rows are wrong, the first is row 1"):
        measure_rows(np.array([0, 1, 2]), probabilities, list("abc"))
