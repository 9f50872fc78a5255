"""Temperature and operating point from a network's probabilities for images whose diagnosis is known."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from skinlesion.data.labels.classes import LABELS, MALIGNANT

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.int64]

PRIOR_DEVIATION: Final = 0.5
"""Standard deviation of the prior of the temperature's logarithm, whose mean is 0. The prior keeps the temperature of a handful
of images near 1; hundreds of images outweigh it."""

WIDEST: Final = np.log(10)
"""Largest logarithm of a temperature: temperatures are within a factor of ten of 1."""

COUNTED_LIKE: Final = 400
"""Weight of the calibrated probabilities of all images in `malignant_threshold`, as a number of malignant images."""


def fit_temperature(log_probabilities: Floats, labels: Ints) -> float:
    """Return the most likely temperature (Guo et al., "On calibration of modern neural networks", ICML 2017).

    Unlike in that paper its logarithm has a prior, `PRIOR_DEVIATION`.

    Args:
        log_probabilities: (n, 3).
        labels: (n,).
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        likelihood = tempered(log_probabilities, float(np.exp(log_temperature)))[rows, labels]
        return float(-np.log(np.maximum(likelihood, 1e-30)).sum() + (log_temperature / PRIOR_DEVIATION) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=(-WIDEST, WIDEST), method="bounded", options={"xatol": 1e-5}).x))


def tempered(log_probabilities: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """Return the probabilities (n, 3) after the logits were divided by the temperature.

    Args:
        log_probabilities: (n, 3).
        temperature: above 1 it makes probabilities less confident.
    """
    return np.asarray(softmax(np.asarray(log_probabilities, dtype=np.float64) / temperature, axis=1))


def malignant_threshold(probabilities: Floats, labels: Ints, sensitivity: float) -> float:
    """Return the operating point: the P(malignant) that this share of the malignant images reaches; 0.5 without any image.

    The quantile of the malignant images alone depends on the half dozen with the lowest scores. If the probabilities are
    calibrated, an image of any class is malignant with its probability p. The quantile of all images, each weighted with p,
    therefore estimates the same and uses all of them. The weights are a mixture of both: the share of the malignant images
    alone grows with their number, compared with `COUNTED_LIKE`.

    Args:
        probabilities: calibrated, (n, 3).
        labels: (n,).
        sensitivity: share of the malignant images, 0..1.
    """
    if not len(labels):
        return 0.5
    scores = np.asarray(probabilities, dtype=np.float64)[:, LABELS.index(MALIGNANT)]
    malignant = (labels == LABELS.index(MALIGNANT)).astype(np.float64)
    weight = malignant.sum() / (malignant.sum() + COUNTED_LIKE)
    counted = (1 - weight) * scores / scores.sum() + weight * malignant / max(1.0, malignant.sum())
    order = np.argsort(scores, kind="stable")
    return float(np.interp((1 - sensitivity) * counted.sum(), np.cumsum(counted[order]), scores[order]))
