"""The inner fold: training lesions that are not trained on, for early stopping and calibration."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import roc_auc_score

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.training.divergence import require_numbers

if TYPE_CHECKING:
    import keras

    from skinlesion.training.rows import Batches


def choose_inner_fold(rows: pd.DataFrame, fraction: float) -> npt.NDArray[np.bool_]:
    """Return which training rows belong to the inner fold, bool (n,).

    Whole lesions of each class are taken, in the order of a hash of their names, until their originals make up the fraction:
    at least one lesion if the class has two, so that both sides contain the class.

    Args:
        rows: columns group, label, copy.
        fraction: share of the originals, 0..1.
    """
    originals = rows[rows["copy"] == 0]
    lesions = originals.groupby("group", sort=True).agg(images=("label", "size"), label=("label", "min"))
    lesions["order"] = [hashlib.sha256(f"inner fold of {group}".encode()).hexdigest() for group in lesions.index]
    chosen: set[str] = set()
    for _, of_class in lesions.sort_values("order").groupby("label", sort=True):
        wanted = fraction * of_class["images"].sum()
        before = of_class["images"].cumsum() - of_class["images"]
        taken = of_class.index[before < wanted]
        if len(taken) == len(of_class):
            taken = taken[:-1]
        chosen.update(taken)
    return rows["group"].isin(chosen).to_numpy()


def measure_inner_fold(part: keras.Model, batches: Batches) -> dict[str, float]:
    """Return the figures of a part of the network on the inner fold, by name. Its first output is measured.

    val_loss: the cross-entropy, weighted as in training.
    val_balanced_accuracy: the mean of the recalls of the classes.
    val_malignant_auroc, val_auroc_error: the AUROC of malignant against the rest and its standard error; missing if all or
    none of the fold is malignant.
    val_mean_auroc: the mean over the classes of the AUROC of each against the rest; missing if the fold has one class.

    There are no figures if the fold is empty, as with a single lesion of each class. Raises DataError if the training diverged.
    """
    if len(batches) == 0:
        return {}
    outputs, labels, weights = [], [], []
    for index in range(len(batches)):
        inputs, one_hot, weight = batches[index]
        predicted = part.predict_on_batch(inputs)
        outputs.append(np.asarray(predicted[0] if isinstance(predicted, list | tuple) else predicted))
        labels.append(one_hot.argmax(axis=1))
        weights.append(weight)
    probabilities, truth, weight = np.concatenate(outputs), np.concatenate(labels), np.concatenate(weights)
    require_numbers(probabilities)
    likelihood = np.clip(probabilities[np.arange(len(truth)), truth], 1e-7, 1.0)
    decided = probabilities.argmax(axis=1)
    recalls = [(decided[truth == label] == label).mean() for label in np.unique(truth)]
    figures = {
        "val_loss": float(np.average(-np.log(likelihood), weights=weight)),
        "val_balanced_accuracy": float(np.mean(recalls)),
    }
    present = np.unique(truth)
    aurocs = {
        LABELS[label]: float(roc_auc_score(truth == label, probabilities[:, label]))
        for label in present
        if len(present) > 1
    }
    if MALIGNANT in aurocs:
        figures["val_malignant_auroc"] = aurocs[MALIGNANT]
        malignant = int((truth == LABELS.index(MALIGNANT)).sum())
        figures["val_auroc_error"] = auroc_error(aurocs[MALIGNANT], malignant, len(truth) - malignant)
    if aurocs:
        figures["val_mean_auroc"] = float(np.mean(list(aurocs.values())))
    return figures


def auroc_error(auroc: float, positives: int, negatives: int) -> float:
    """Return the standard error of an AUROC (Hanley & McNeil, Radiology 143:29, 1982, formula 2)."""
    two_positives, two_negatives = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
    spread = (positives - 1) * (two_positives - auroc**2) + (negatives - 1) * (two_negatives - auroc**2)
    return math.sqrt(max(0.0, auroc * (1 - auroc) + spread) / (positives * negatives))
