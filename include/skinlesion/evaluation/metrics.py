"""The figures of a model on held-out lesions, each with an interval from a bootstrap over lesions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from skinlesion.diagnosis import LABELS, MALIGNANT
from skinlesion.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

RELIABILITY_BINS: Final = 15
"""Equal-width bins of the calibration error, as in Guo et al. 2017."""
FEW_LESIONS: Final = 20
"""Below this many lesions of a class its figures come with a warning."""
ROC_POINTS: Final = 200
SENSITIVITY: Final = 0.95
SUM_TOLERANCE: Final = 1e-3
"""How far a row of probabilities may be from 1; float16 softmax outputs stay within it."""
WEIGHTS_AT_ONCE: Final = 4_000_000
"""Bootstrap weights held at once (32 MB), whatever the number of images."""
NOT_RECORDED: Final = "not recorded"


def measure(
    labels: Ints, probabilities: Floats, lesions: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Give every figure of the report as plain JSON values, None where a figure is undefined.

    Args:
        labels: (n,) int64, indices into `LABELS`.
        probabilities: (n, 3) float64, rows sum to 1, columns in the order of `LABELS`.
        lesions: n group ids; images of one lesion are not independent and are resampled together.
        resamples: bootstrap resamples; 0 gives no intervals.
        seed: of the bootstrap; equal input and seed give equal figures.

    `balanced_accuracy` is the mean recall over the classes present in `labels`, `malignant_auroc` takes malignant
    against the rest. `expected_calibration_error` is that of the top label in 15 equal-width bins (Guo et al., "On
    calibration of modern neural networks", ICML 2017, eq. 3), `reliability` its bins. `intervals` are 95 % percentile
    intervals of the cluster bootstrap (Field & Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69:369, 2007);
    resamples in which a figure is undefined are dropped, and a class with a single lesion gives none, as resampling
    it shows no variation. `specificity_at_95_sensitivity` reads its threshold off this very set: it describes
    the ROC curve and is no promise for a threshold fixed beforehand.

    Raises:
        DataError: there is no image.
        ValueError: shapes, labels or probabilities are not as above.
    """
    labels, probabilities, groups = _checked(labels, probabilities, lesions)
    predicted = probabilities.argmax(axis=1)
    malignant = labels == LABELS.index(MALIGNANT)
    scores = probabilities[:, LABELS.index(MALIGNANT)]
    every = list(range(len(LABELS)))
    present = np.unique(labels).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=np.nan
    )
    lesions_of = [len(np.unique(groups[labels == index])) for index in every]
    error, reliability = _calibration(labels == predicted, probabilities.max(axis=1))
    roc, specificity = _roc(malignant, scores)
    return {
        "images": len(labels),
        "lesions": len(np.unique(groups)),
        "balanced_accuracy": _balanced_accuracy(labels, predicted),
        "malignant_auroc": _auroc(malignant, scores),
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(np.mean(f1[present])),
        # float32 softmax rows miss 1 by more than scikit-learn's tolerance for float64.
        "log_loss": float(log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True), labels=every)),
        "expected_calibration_error": error,
        "specificity_at_95_sensitivity": specificity,
        "intervals": _intervals(labels, predicted, scores, groups, resamples, seed),
        "per_class": {
            label: {
                "precision": _number(precision[index]),
                "recall": _number(recall[index]),
                "f1": _number(f1[index]),
                "support": int(support[index]),
                "lesions": lesions_of[index],
            }
            for index, label in enumerate(LABELS)
        },
        "confusion_matrix": confusion_matrix(labels, predicted, labels=every).tolist(),
        "reliability": reliability,
        "roc": roc,
        "warnings": _warnings(predicted, malignant, lesions_of),
    }


def measure_slices(
    labels: Ints, probabilities: Floats, lesions: Sequence[str], slices: pd.DataFrame, minimum: int = 20
) -> list[dict[str, Any]]:
    """Give the two headline figures for each value of each column of `slices` (n rows, in the order of `labels`).

    A row has `column`, `value`, `n` (images), `n_lesions`, `classes` (present in the slice; balanced accuracies over
    different classes do not compare), `balanced_accuracy`, `malignant_auroc` and `intervals` (95 %, 200 resamples).
    The figures are None where n is below `minimum`. Missing values make a slice of their own, the last.

    Raises:
        DataError: there is no image.
        ValueError: as `measure`, or the number of rows differs.
    """
    labels, probabilities, groups = _checked(labels, probabilities, lesions)
    if len(slices) != len(labels):
        raise ValueError(f"slices must have one row an image, {len(labels)}; received {len(slices)}")
    predicted = probabilities.argmax(axis=1)
    scores = probabilities[:, LABELS.index(MALIGNANT)]
    rows: list[dict[str, Any]] = []
    for column in slices.columns:
        values = slices[column].reset_index(drop=True)
        for value, part in values.groupby(values, dropna=False, observed=True):
            at = part.index.to_numpy()
            row: dict[str, Any] = {
                "column": str(column),
                "value": NOT_RECORDED if pd.isna(value) else str(value),
                "n": len(at),
                "n_lesions": len(np.unique(groups[at])),
                "classes": [LABELS[index] for index in np.unique(labels[at])],
                "balanced_accuracy": None,
                "malignant_auroc": None,
                "intervals": {"balanced_accuracy": None, "malignant_auroc": None},
            }
            if len(at) >= minimum:
                row["balanced_accuracy"] = _balanced_accuracy(labels[at], predicted[at])
                row["malignant_auroc"] = _auroc(labels[at] == LABELS.index(MALIGNANT), scores[at])
                intervals = _intervals(labels[at], predicted[at], scores[at], groups[at], resamples=200, seed=0)
                row["intervals"] = {name: intervals[name] for name in row["intervals"]}
            rows.append(row)
    return rows


def _checked(labels: Ints, probabilities: Floats, lesions: Sequence[str]) -> tuple[Ints, Floats, Ints]:
    """Give the labels, the probabilities and the lesions as integers 0..(number of lesions - 1)."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if len(labels) == 0:
        raise DataError(
            "There is no held-out image to measure the model on. Expected at least one image in the 20 % that training "
            "never sees; add images (a handful of lesions may all fall in the training part) and run ingest again."
        )
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers of shape (n,); received {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() >= len(LABELS):
        raise ValueError(f"labels must be within 0..{len(LABELS) - 1}; received {labels.min()}..{labels.max()}")
    if probabilities.shape != (len(labels), len(LABELS)):
        raise ValueError(
            f"probabilities must have shape ({len(labels)}, {len(LABELS)}), one row a label and one column a class; "
            f"received {probabilities.shape}"
        )
    if len(lesions) != len(labels):
        raise ValueError(f"lesions must name one lesion an image, {len(labels)}; received {len(lesions)}")
    with np.errstate(invalid="ignore"):
        sums = probabilities.sum(axis=1)
    for wrong, what in (
        (~np.isfinite(probabilities).all(axis=1), "be finite"),
        ((probabilities < 0).any(axis=1), "not be negative"),
        (np.abs(sums - 1) > SUM_TOLERANCE, "sum to 1 in each row"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"probabilities must {what}; {int(wrong.sum())} of {len(labels)} rows do not, the first is row {row}; "
                f"received {probabilities[row].tolist()}"
            )
    groups = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)[1]
    return labels, probabilities, groups.astype(np.int64)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _balanced_accuracy(labels: Ints, predicted: Ints) -> float:
    # Not balanced_accuracy_score: it warns about a class that is predicted and absent, which is no fault here.
    return float(recall_score(labels, predicted, labels=np.unique(labels), average="macro", zero_division=0))


def _auroc(positive: npt.NDArray[np.bool_], scores: Floats) -> float | None:
    return None if positive.all() or not positive.any() else float(roc_auc_score(positive, scores))


def _roc(positive: npt.NDArray[np.bool_], scores: Floats) -> tuple[dict[str, list[float]], float | None]:
    """Give the curve in at most `ROC_POINTS` points and, from the whole curve, the specificity at 95 % sensitivity."""
    if positive.all() or not positive.any():
        return {"fpr": [], "tpr": []}, None
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    # fpr + tpr grows strictly along the curve, so even steps of it keep both steep and flat parts.
    kept = np.unique(np.searchsorted(fpr + tpr, np.linspace(0, fpr[-1] + tpr[-1], ROC_POINTS)))
    return {"fpr": fpr[kept].tolist(), "tpr": tpr[kept].tolist()}, float(1 - fpr[np.argmax(tpr >= SENSITIVITY)])


def _calibration(right: npt.NDArray[np.bool_], confidence: Floats) -> tuple[float, list[dict[str, Any]]]:
    """Give the expected calibration error and its bins (low, high], the empty ones included."""
    which = np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(int) - 1, 0, RELIABILITY_BINS - 1)
    counts = np.bincount(which, minlength=RELIABILITY_BINS)
    confident = np.bincount(which, weights=confidence, minlength=RELIABILITY_BINS)
    correct = np.bincount(which, weights=right, minlength=RELIABILITY_BINS)
    bins = [
        {
            "low": index / RELIABILITY_BINS,
            "high": (index + 1) / RELIABILITY_BINS,
            "count": int(count),
            "confidence": float(confident[index] / count) if count else None,
            "accuracy": float(correct[index] / count) if count else None,
        }
        for index, count in enumerate(counts)
    ]
    return float(np.abs(correct - confident).sum() / len(right)), bins


@dataclass(frozen=True)
class _WeightedAuroc:
    """Malignant AUROC under image weights, exact with ties; sorted once for all resamples."""

    order: Ints
    positive: Floats
    ties: Ints

    @classmethod
    def of(cls, positive: npt.NDArray[np.bool_], scores: Floats) -> _WeightedAuroc:
        order = np.argsort(scores, kind="stable")
        ties = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
        return cls(order, positive[order].astype(np.float64), ties)

    def __call__(self, weights: Floats) -> Floats:
        """Give (resamples,) from weights (resamples, n): the chance that a malignant image scores above another one."""
        weights = weights[:, self.order]
        positive = np.add.reduceat(weights * self.positive, self.ties, axis=1)
        negative = np.add.reduceat(weights, self.ties, axis=1) - positive
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray((positive * below).sum(axis=1) / pairs, dtype=np.float64)


def _intervals(
    labels: Ints, predicted: Ints, scores: Floats, groups: Ints, resamples: int, seed: int
) -> dict[str, list[float] | None]:
    """Give the 95 % percentile interval of each headline figure; `groups` may be any integers."""
    groups = np.unique(groups, return_inverse=True)[1]
    lesions, classes = int(groups.max()) + 1, len(LABELS)
    # One confusion matrix a lesion: a resample's matrix is then one row of a matrix product.
    confusions = np.zeros((lesions, classes * classes))
    np.add.at(confusions, (groups, labels * classes + predicted), 1.0)
    malignant = labels == LABELS.index(MALIGNANT)
    weighted_auroc = _WeightedAuroc.of(malignant, scores)
    present = np.unique(labels)

    drawn: dict[str, list[Floats]] = {"balanced_accuracy": [], "malignant_auroc": [], "accuracy": []}
    generator = np.random.default_rng(seed)
    step = max(1, WEIGHTS_AT_ONCE // len(labels))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        picks = generator.integers(lesions, size=(rows, lesions)) + np.arange(rows)[:, None] * lesions
        weights = np.bincount(picks.ravel(), minlength=rows * lesions).reshape(rows, lesions).astype(np.float64)
        matrices = (weights @ confusions).reshape(rows, classes, classes)
        hits, supports = np.diagonal(matrices, axis1=1, axis2=2), matrices.sum(axis=2)
        with np.errstate(invalid="ignore"):
            drawn["balanced_accuracy"].append((hits / supports)[:, present].mean(axis=1))
        drawn["accuracy"].append(hits.sum(axis=1) / supports.sum(axis=1))
        drawn["malignant_auroc"].append(weighted_auroc(weights[:, groups]))

    measurable = {
        "balanced_accuracy": all(len(np.unique(groups[labels == index])) > 1 for index in present),
        "malignant_auroc": all(len(np.unique(groups[side])) > 1 for side in (malignant, ~malignant)),
        "accuracy": lesions > 1,
    }
    intervals: dict[str, list[float] | None] = {}
    for name, parts in drawn.items():
        values = np.concatenate(parts) if parts else np.empty(0)
        values = values[np.isfinite(values)]
        intervals[name] = np.percentile(values, [2.5, 97.5]).tolist() if measurable[name] and len(values) else None
    return intervals


def _warnings(predicted: Ints, malignant: npt.NDArray[np.bool_], lesions_of: list[int]) -> list[str]:
    sentences: list[str] = []
    for index, label in enumerate(LABELS):
        count = lesions_of[index]
        if count == 0:
            sentences.append(f"No held-out image is of class {label}: its recall is not measured.")
            continue
        if count == 1:
            sentences.append(f"Only 1 lesion of class {label} is held out: there is no interval for figures of it.")
        elif count < FEW_LESIONS:
            sentences.append(f"Only {count} lesions of class {label} are held out: the interval is wide.")
        if not (predicted == index).any():
            sentences.append(f"The model calls no held-out image {label}: its precision is undefined, its recall zero.")
    if malignant.all():
        sentences.append("Every held-out image is malignant: malignant AUROC and specificity are not measured.")
    elif not malignant.any():
        sentences.append("No held-out image is malignant: malignant AUROC and sensitivity are not measured.")
    return sentences
