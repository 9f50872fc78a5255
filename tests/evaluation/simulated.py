"""Images as a model would score them, for tests that measure figures."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from skinlesion.evaluation.scored_images import ScoredImages


def scored(
    n: int, seed: int = 0, *, classes: int = 3, decimals: int | None = None, lesions: int | None = None
) -> ScoredImages:
    """Return n images with informative probabilities, each of one of so many lesions: n // 2 if none are given.

    classes: number of classes that occur. decimals: of the logits; few of them make ties.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += 1.5
    if decimals is not None:
        logits = logits.round(decimals)
    of_lesion = random.integers(lesions or max(1, n // 2), size=n)
    return ScoredImages.of(labels, softmax(logits, axis=1), [str(number) for number in of_lesion])
