"""Figures for tests: measured of a few rows, or a metrics.json for those that measure nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from skinlesion.data.finding import LinkedReport, Verdict
from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.metrics import measure
from skinlesion.evaluation.model_metrics import model_metrics
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.prediction.answers import Answers
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry.metrics_record import (
    ClassFigures,
    DataSummary,
    Figures,
    MetricsRecord,
    ModelFigures,
    OperatingPoint,
    Roc,
    SmokeSet,
)

Value = TypeVar("Value")

RULE = DecisionRule(
    temperature=1.2, malignant_threshold=0.2, target_sensitivity=0.95, least_confidence=0.4, coverage=0.9, most_distance=None,
    class_shares=(0.5, 0.3, 0.2),
)  # fmt: skip


def known(value: Value | None) -> Value:
    """Return a figure that must have been measured."""
    assert value is not None
    return value


def measure_rows(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], lesions: Sequence[str], **options: Any
) -> Figures:
    """Return what `measure` returns of these labels, probabilities and lesions."""
    return measure(ScoredImages.of(labels, probabilities, lesions), **{"threshold": 0.5} | options)


def model_figures(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], lesions: Sequence[str]
) -> ModelFigures:
    """Return all figures of a model with `RULE` that gives these probabilities."""
    images = ScoredImages.of(labels, probabilities, lesions)
    decided = [one.decision for one in RULE.decide(probabilities)]
    return model_metrics(
        images, RULE, Answers(images.probabilities, np.full(len(labels), np.nan), decided, [""] * len(labels))
    )


@cache
def _of_three_images() -> ModelFigures:
    return model_figures(np.arange(3), np.eye(3) * 0.7 + 0.1, list("abc"))


def metrics_record(
    *, data_verdict: Verdict | None = None, malignant_recall: float = 0.85, **changes: Any
) -> MetricsRecord:
    """Return a record of a model. data_verdict: of its data report; None: there is none."""
    report = LinkedReport(file="data_report.html", verdict=data_verdict, beyond=[]) if data_verdict else None
    recalls = dict.fromkeys(LABELS, 0.8) | {"malignant": malignant_recall}
    values: dict[str, Any] = dict(_of_three_images()) | {
        "images": 420,
        "lesions": 400,
        "balanced_accuracy": 0.8,
        "malignant_auroc": 0.9,
        "accuracy": 0.8,
        "macro_f1": 0.8,
        "log_loss": 0.5,
        "expected_calibration_error": 0.02,
        "specificity_at_95_sensitivity": 0.6,
        "intervals": {},
        "per_class": {
            label: ClassFigures(precision=0.8, recall=recall, f1=0.8, support=140, lesions=130)
            for label, recall in recalls.items()
        },
        "confusion_matrix": [[112, 14, 14], [14, 119, 7], [14, 14, 112]],
        "reliability": [],
        "roc": Roc(fpr=[0.0, 1.0], tpr=[0.0, 1.0]),
        "warnings": [],
        "operating_point": OperatingPoint(
            threshold=0.2,
            target_sensitivity=0.95,
            chosen_on_lesions=40,
            sensitivity=malignant_recall,
            specificity=None,
            intervals={},
            called_malignant=200,
            caught=119,
            missed=21,
            prevalence=1 / 3,
        ),
        "out_of_distribution": SmokeSet(pictures=90, unknown_share=1.0, by_kind=[]),
        "key": "k3y",
        "run": "run",
        "training_version": "7ra1n",
        "held_out_version": "h3ld",
        "data_version": "da7a",
        "slices": [],
        "data": DataSummary(
            version="da7a",
            counts=[],
            diagnoses=[],
            recorded_share={},
            refused=[],
            refused_total=0,
            refused_by_reason={},
            notes=[],
            report=report,
        ),
    }
    return MetricsRecord(**(values | changes))
