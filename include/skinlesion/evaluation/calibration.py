"""Whether the probabilities can be believed: calibration error, reliability, and the effect of temperature scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from scipy.special import softmax

from skinlesion.evaluation.scored_images import Bools, Floats, Ints, ScoredImages
from skinlesion.registry.metrics_record import BeforeAndAfter, Calibration, Reliability, ReliabilityBin

RELIABILITY_BINS: Final = 15
"""Equal-width bins of the calibration error, as in Guo et al. 2017."""


def bin_of(confidence: Floats) -> Ints:
    """Return the index of the bin (low, high] of each probability."""
    return np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(np.int64) - 1, 0, RELIABILITY_BINS - 1)


def calibration_error(right: Bools, confidence: Floats) -> tuple[float, list[ReliabilityBin]]:
    """Return the expected calibration error of the likeliest class and its bins, the empty ones included.

    Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3.
    """
    which = bin_of(confidence)
    counts = np.bincount(which, minlength=RELIABILITY_BINS)
    confident = np.bincount(which, weights=confidence, minlength=RELIABILITY_BINS)
    correct = np.bincount(which, weights=right, minlength=RELIABILITY_BINS)
    bins = [
        ReliabilityBin(
            low=index / RELIABILITY_BINS,
            high=(index + 1) / RELIABILITY_BINS,
            count=int(count),
            confidence=float(confident[index] / count) if count else None,
            accuracy=float(correct[index] / count) if count else None,
        )
        for index, count in enumerate(counts)
    ]
    return float(np.abs(correct - confident).sum() / len(right)), bins


def without_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Return the probabilities (n, 3) as they were before their logits were divided by the temperature.

    The logarithms of a softmax are its logits but for a constant, so multiplying them undoes the division.
    """
    return np.asarray(softmax(temperature * np.log(np.maximum(probabilities, 1e-30)), axis=1), dtype=np.float64)


def calibration_before_and_after(scored: ScoredImages, temperature: float, inner: Mapping[str, Any]) -> Calibration:
    """Return error and bins before and after temperature scaling, on the held-out images and on the inner fold.

    inner: what train measured on the inner fold; a figure that it lacks is None. With test-time augmentation the temperature
    is undone on the average over the orientations, which is close to the average of the probabilities before scaling.
    """
    before = without_temperature(scored.probabilities, temperature)
    held_out = BeforeAndAfter(
        before=_reliability(*calibration_error(before.argmax(axis=1) == scored.labels, before.max(axis=1))),
        after=_reliability(*calibration_error(scored.right, scored.confidence)),
    )
    inner_fold = BeforeAndAfter(before=_of_inner_fold(inner, "before"), after=_of_inner_fold(inner, "after"))
    return Calibration(temperature=temperature, held_out=held_out, inner_fold=inner_fold)


def _of_inner_fold(inner: Mapping[str, Any], when: str) -> Reliability:
    bins = inner.get(f"reliability_{when}") or []
    return _reliability(inner.get(f"ece_{when}"), [ReliabilityBin.model_validate(one) for one in bins])


def _reliability(error: float | None, bins: list[ReliabilityBin]) -> Reliability:
    return Reliability(expected_calibration_error=error, reliability=bins)
