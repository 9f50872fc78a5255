"""The figures of a model on held-out lesions, each with an interval that respects lesions."""

from __future__ import annotations

from typing import Final

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.evaluation.calibration import RELIABILITY_BINS, bin_of, calibration_error
from skinlesion.evaluation.lesion_bootstrap import RESAMPLES, Drawn, FigureOfPairs, FiguresOfSums, bca, draw, shifted
from skinlesion.evaluation.operating_point import operating_shares
from skinlesion.evaluation.scored_images import Bools, Floats, ScoredImages
from skinlesion.evaluation.shares import Interval, Share, finite, mean_interval, recalls
from skinlesion.foundation.wording import counted
from skinlesion.registry.figure import FEWEST_LESIONS
from skinlesion.registry.metrics_record import ClassFigures, Figures, Roc

ROC_POINTS: Final = 200
SENSITIVITY: Final = 0.95


def measure(scored: ScoredImages, *, threshold: float, resamples: int = RESAMPLES) -> Figures:
    """Return the figures of a model's probabilities, None where a figure is undefined.

    `balanced_accuracy` is the mean recall over the classes that are there, `malignant_auroc` is that of malignant
    against the rest. `expected_calibration_error` is that of the likeliest class in 15 equal-width bins, `reliability` its
    bins. `intervals` are those of `skinlesion.evaluation.shares` and, where a figure is not a share, of
    `skinlesion.evaluation.lesion_bootstrap`; resamples in which a figure is undefined are left out, and a figure that
    depends on a class with a single lesion has none, as resampling it shows no variation.
    The threshold of `specificity_at_95_sensitivity` is chosen on this very set: the figure describes the ROC curve and
    promises nothing for a threshold that was fixed beforehand.

    Args:
        scored: the images.
        threshold: of the probability of malignant, fixed beforehand.
        resamples: of the bootstrap; 0 gives no intervals of AUROC, macro F1 and calibration error.
    """
    every = list(range(len(LABELS)))
    present = np.unique(scored.labels).tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        scored.labels, scored.predicted, labels=every, zero_division=np.nan
    )
    lesions_of = [scored.lesions_of(scored.labels == index) for index in every]
    error, reliability = calibration_error(scored.right, scored.confidence)
    roc, specificity = _roc(scored.malignant, scored.scores)
    normalised = scored.probabilities / scored.probabilities.sum(axis=1, keepdims=True)
    return Figures(
        images=len(scored),
        lesions=scored.lesions,
        balanced_accuracy=balanced_accuracy(scored),
        malignant_auroc=malignant_auroc(scored),
        accuracy=float(accuracy_score(scored.labels, scored.predicted)),
        macro_f1=float(np.mean(f1[present])),
        # float32 softmax rows miss 1 by more than scikit-learn's tolerance for float64.
        log_loss=float(log_loss(scored.labels, normalised, labels=every)),
        expected_calibration_error=error,
        specificity_at_95_sensitivity=specificity,
        intervals=intervals(scored, threshold, resamples=resamples),
        per_class={
            label: ClassFigures(
                precision=finite(precision[index]),
                recall=finite(recall[index]),
                f1=finite(f1[index]),
                support=int(support[index]),
                lesions=lesions_of[index],
            )
            for index, label in enumerate(LABELS)
        },
        confusion_matrix=confusion_matrix(scored.labels, scored.predicted, labels=every).tolist(),
        reliability=reliability,
        roc=roc,
        warnings=_warnings(scored, lesions_of),
    )


def balanced_accuracy(scored: ScoredImages) -> float:
    """Return the mean recall over the classes present."""
    # balanced_accuracy_score warns about a class that is predicted and absent, which is no fault here.
    present = np.unique(scored.labels)
    return float(recall_score(scored.labels, scored.predicted, labels=present, average="macro", zero_division=0))


def malignant_auroc(scored: ScoredImages) -> float | None:
    """Return the AUROC of malignant against the rest; None without a malignant or without another image."""
    malignant = scored.malignant
    return None if malignant.all() or not malignant.any() else float(roc_auc_score(malignant, scored.scores))


def draw_figures(scored: ScoredImages, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Drawn]:
    """Return the figures that are no shares of images with their bootstraps: AUROC, macro F1 and calibration error."""
    pairs = FigureOfPairs.of("malignant_auroc", scored)
    return draw([_f1_statistic(scored), _calibration_statistic(scored), pairs], scored.lesions, resamples, seed)


def intervals(
    scored: ScoredImages, threshold: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval | None]:
    """Return the 95 % interval of each figure; None where a class that it depends on has a single lesion."""
    found: dict[str, Interval | None] = {
        "balanced_accuracy": balanced_accuracy_interval(scored),
        "accuracy": Share.of(scored.right, scored.groups).interval(),
        **{name: share.interval() for name, share in operating_shares(scored, threshold).items()},
    }
    for name, figure in draw_figures(scored, resamples=resamples, seed=seed).items():
        found[name] = shifted(figure) if name == "expected_calibration_error" else bca(figure)
    return {name: interval if fewest_lesions(scored, name) > 1 else None for name, interval in found.items()}


def balanced_accuracy_interval(scored: ScoredImages) -> Interval:
    """Return the 95 % interval of the balanced accuracy, from those of the recalls, which depend on different images."""
    of_class = recalls(scored.labels, scored.predicted, scored.groups)
    return mean_interval([share.point for share in of_class], [share.interval() for share in of_class])


def fewest_lesions(scored: ScoredImages, name: str) -> int:
    """Return the number of lesions of the rarest class that a figure depends on; resampling one shows no variation."""
    malignant = scored.malignant
    classes = [scored.labels == index for index in np.unique(scored.labels)]
    sides = {
        "balanced_accuracy": classes,
        "macro_f1": classes,
        "malignant_auroc": [malignant, ~malignant],
        "sensitivity": [malignant],
        "specificity": [~malignant],
    }
    return min(scored.lesions_of(side) for side in sides.get(name, [malignant | True]))


def _f1_statistic(scored: ScoredImages) -> FiguresOfSums:
    """Return macro F1 as a function of the confusion matrix, over the classes present."""
    classes = len(LABELS)
    present = np.unique(scored.labels)
    counts = np.zeros((scored.lesions, classes * classes))
    np.add.at(counts, (scored.groups, scored.labels * classes + scored.predicted), 1.0)

    def figures(sums: Floats) -> dict[str, Floats]:
        matrices = sums.reshape(-1, classes, classes)
        hits = np.diagonal(matrices, axis1=1, axis2=2)
        supports, named = matrices.sum(axis=2), matrices.sum(axis=1)
        return {"macro_f1": (2 * hits / (supports + named))[:, present].mean(axis=1)}

    return FiguresOfSums(counts, figures)


def _calibration_statistic(scored: ScoredImages) -> FiguresOfSums:
    counts = np.zeros((scored.lesions, RELIABILITY_BINS + 1))
    np.add.at(counts, (scored.groups, bin_of(scored.confidence)), scored.right - scored.confidence)
    counts[:, -1] = np.bincount(scored.groups, minlength=scored.lesions)
    return FiguresOfSums(
        counts, lambda sums: {"expected_calibration_error": np.abs(sums[:, :-1]).sum(axis=1) / sums[:, -1]}
    )


def _roc(positive: Bools, scores: Floats) -> tuple[Roc, float | None]:
    """Return the curve in at most `ROC_POINTS` points and, from the whole curve, the specificity at 95 % sensitivity."""
    if positive.all() or not positive.any():
        return Roc(fpr=[], tpr=[]), None
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
    # fpr + tpr grows strictly along the curve, so even steps of it keep both steep and flat parts.
    kept = np.unique(np.searchsorted(fpr + tpr, np.linspace(0, fpr[-1] + tpr[-1], ROC_POINTS)))
    specificity = float(1 - fpr[np.argmax(tpr >= SENSITIVITY)])
    return Roc(fpr=fpr[kept].tolist(), tpr=tpr[kept].tolist()), specificity


def _warnings(scored: ScoredImages, lesions_of: list[int]) -> list[str]:
    sentences: list[str] = []
    for index, label in enumerate(LABELS):
        count = lesions_of[index]
        if count == 0:
            sentences.append(f"No held-out image is of class {label}: its recall is not measured.")
            continue
        if count < FEWEST_LESIONS:
            lesions = counted(count, f"lesion of class {label} is", f"lesions of class {label} are")
            sentences.append(
                f"Only {lesions} held out, too few to judge a figure that depends on it: {FEWEST_LESIONS} are needed."
            )
        if not (scored.predicted == index).any():
            sentences.append(f"The model calls no held-out image {label}: its precision is undefined, its recall zero.")
    if scored.malignant.all():
        sentences.append(f"Every held-out image is {MALIGNANT}: malignant AUROC and specificity are not measured.")
    elif not scored.malignant.any():
        sentences.append(f"No held-out image is {MALIGNANT}: malignant AUROC and sensitivity are not measured.")
    return sentences
