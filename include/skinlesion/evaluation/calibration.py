"""Whether probabilities can be taken at their word: calibration error, reliability, and what temperature did to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from skinlesion.evaluation.scored_images import Bools, Floats, Ints, ScoredImages

RELIABILITY_BINS: Final = 15
"""Equal-width bins of the calibration error, as in Guo et al. 2017."""


def bin_of(confidence: Floats) -> Ints:
    """Give the bin (low, high] of each probability."""
    return np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(np.int64) - 1, 0, RELIABILITY_BINS - 1)


def calibration_error(right: Bools, confidence: Floats) -> tuple[float, list[dict[str, Any]]]:
    """Give the expected calibration error of the top label and its bins, the empty ones included.

    Guo et al., "On calibration of modern neural networks", ICML 2017, eq. 3.
    """
    which = bin_of(confidence)
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


def without_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Give the probabilities (n, 3) as they were before their logits were divided by the temperature.

    A softmax's logarithms are its logits but for a constant, so multiplying them undoes the division.
    """
    logits = temperature * np.log(np.maximum(probabilities, 1e-30))
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float64)


def calibration_before_and_after(scored: ScoredImages, temperature: float, inner: Mapping[str, Any]) -> dict[str, Any]:
    """Give error and bins before and after temperature scaling, on the held-out images and on the inner fold.

    inner: what train measured on the inner fold; its figures are None where it has none. Where several views of an image
    are averaged, the average's temperature is taken back, which is near what averaging untempered views gives.
    """
    before = without_temperature(scored.probabilities, temperature)
    return {
        "temperature": temperature,
        "held_out": {
            "before": _summary(*calibration_error(before.argmax(axis=1) == scored.labels, before.max(axis=1))),
            "after": _summary(*calibration_error(scored.right, scored.confidence)),
        },
        "inner_fold": {
            when: _summary(inner.get(f"ece_{when}"), inner.get(f"reliability_{when}") or [])
            for when in ("before", "after")
        },
    }


def _summary(error: float | None, reliability: list[dict[str, Any]]) -> dict[str, Any]:
    return {"expected_calibration_error": error, "reliability": reliability}
