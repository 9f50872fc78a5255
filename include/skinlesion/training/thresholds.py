"""Temperature and thresholds from what a network gives for images whose diagnosis is known: arithmetic alone."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from skinlesion.data.labels.classes import LABELS, MALIGNANT

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

PRIOR_DEVIATION: Final = 0.5
"""Of the temperature's logarithm about 0: keeps that of a handful of images near 1; hundreds outweigh it."""

WIDEST: Final = np.log(10)
"""A temperature lies within a factor of ten of 1."""

COUNTED_LIKE: Final = 400
"""The calibrated probabilities say as much about where the malignant scores end as so many malignant images would."""


def fit_temperature(log_probabilities: Floats, labels: Ints) -> float:
    """Give the temperature that makes the labels likeliest.

    Guo et al., "On calibration of modern neural networks", ICML 2017, with a prior on its logarithm.
    log_probabilities: (n, views, 3), whose probabilities are averaged over the views. labels: (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        likelihood = tempered(log_probabilities, float(np.exp(log_temperature)))[rows, labels]
        return float(-np.log(np.maximum(likelihood, 1e-30)).sum() + (log_temperature / PRIOR_DEVIATION) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-5}).x))


def tempered(log_probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """Give the probabilities (n, 3) whose logits were divided by the temperature, averaged over (n, views, 3)."""
    scaled = log_softmax(np.asarray(log_probabilities, dtype=np.float64) / temperature, axis=2)
    return np.asarray(np.exp(logsumexp(scaled, axis=1) - np.log(scaled.shape[1])))


def malignant_threshold(probabilities: Floats, labels: Ints, sensitivity: float) -> float:
    """Give the P(malignant) that this share of the malignant images reaches; 0.5 without any image.

    The malignant images' own quantile hangs on the half dozen with the lowest scores. If the probabilities are calibrated,
    an image of any class is malignant with probability p: counting each image as p of a malignant one, the quantile takes
    in all of them. The two counts are mixed by how many malignant images there are, against `COUNTED_LIKE`.
    probabilities: calibrated, (n, 3). labels: (n,).
    """
    if not len(labels):
        return 0.5
    scores = np.asarray(probabilities, dtype=np.float64)[:, LABELS.index(MALIGNANT)]
    malignant = (labels == LABELS.index(MALIGNANT)).astype(np.float64)
    weight = malignant.sum() / (malignant.sum() + COUNTED_LIKE)
    counted = (1 - weight) * scores / scores.sum() + weight * malignant / max(1.0, malignant.sum())
    order = np.argsort(scores, kind="stable")
    return float(np.interp((1 - sensitivity) * counted.sum(), np.cumsum(counted[order]), scores[order]))


def lower_quantile(values: Floats, share: float) -> float:
    """Give the value below which at most this share lies."""
    return float(np.quantile(values, share, method="lower"))


def upper_quantile(values: Floats, share: float) -> float:
    """Give the value above which at most this share lies."""
    return float(np.quantile(values, 1 - share, method="higher"))
