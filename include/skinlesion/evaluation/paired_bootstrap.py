"""How much worse a candidate may be: the difference of two models on the same lesions, with its lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS, MALIGNANT

RESAMPLES: Final = 2000

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """A figure of both models on the same images, and candidate minus champion.

    lower: that difference's one-sided lower bound. None where the figure is undefined, for want of a class.
    """

    candidate: float | None
    champion: float | None
    difference: float | None
    lower: float | None


@dataclass(frozen=True)
class Decided:
    """What a model says of n images.

    predicted: (n,) int64, its likeliest class, an index into `LABELS`. positive: bool (n,), whether it calls the image
    malignant at its operating point.
    """

    predicted: Ints
    positive: Bools

    @classmethod
    def of(cls, probabilities: Floats, threshold: float | None) -> Decided:
        """Give what follows from probabilities (n, 3) and the model's own threshold for malignant; None: the likeliest class."""
        predicted = probabilities.argmax(axis=1)
        malignant = LABELS.index(MALIGNANT)
        positive = predicted == malignant if threshold is None else probabilities[:, malignant] >= threshold
        return cls(predicted, positive)


def compare(
    labels: Ints,
    lesions: npt.ArrayLike,
    candidate: Decided,
    champion: Decided,
    *,
    confidence: float,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Difference, Difference]:
    """Give the differences in balanced accuracy and in sensitivity for malignant at the operating points.

    The bootstrap draws lesions, with all their images, and asks both models about the same draw (Field & Welsh,
    "Bootstrapping clustered data", J. R. Stat. Soc. B 69:369, 2007), so what is hard for both cancels out. `lower` is the
    quantile 1 - confidence of the drawn differences (percentile method). Draws without a class are left out.

    Args:
        labels: (n,) int64, indices into `LABELS`.
        lesions: n names.
        candidate: of the n images.
        champion: of the same n images.
        confidence: of the one-sided bound; 0.5 is about the difference itself.
        resamples: draws.
        seed: equal input and seed give equal bounds.
    """
    groups = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)[1]
    columns = [*_columns(labels, candidate), *_columns(labels, champion)]
    # One row a lesion: what it adds to each sum that the figures are made of.
    of_lesion = np.stack([np.bincount(groups, weights=column) for column in columns], axis=1)
    drawn = _figures(_weights(len(of_lesion), resamples, seed) @ of_lesion)
    whole = _figures(of_lesion.sum(axis=0)[np.newaxis])
    present = np.unique(labels).tolist()
    return (
        _difference(*(_balanced_accuracy(figures, present) for figures in (*whole, *drawn)), confidence=confidence),
        _difference(*(_sensitivity(figures) for figures in (*whole, *drawn)), confidence=confidence),
    )


def _weights(lesions: int, resamples: int, seed: int) -> Floats:
    """Give how often each lesion is drawn, (resamples, lesions)."""
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, lesions))
    for row in weights:
        row[:] = np.bincount(generator.integers(lesions, size=lesions), minlength=lesions)
    return weights


def _difference(
    candidate: Floats, champion: Floats, drawn_candidate: Floats, drawn_champion: Floats, *, confidence: float
) -> Difference:
    """Give the difference from the figures on all lesions, each (1,), and on each draw, each (draws,)."""
    drawn = drawn_candidate - drawn_champion
    drawn = drawn[np.isfinite(drawn)]
    one, other = float(candidate[0]), float(champion[0])
    if not np.isfinite([one, other]).all() or len(drawn) == 0:
        return Difference(None, None, None, None)
    return Difference(one, other, one - other, float(np.quantile(drawn, 1 - confidence)))


_CLASSES: Final = len(LABELS)


def _columns(labels: Ints, decided: Decided) -> list[Floats]:
    """Give the sums' parts, each (n,): images of each class, those that are right, malignant ones called so."""
    of_class = [(labels == index).astype(np.float64) for index in range(_CLASSES)]
    right = [of * (decided.predicted == index) for index, of in enumerate(of_class)]
    return [*of_class, *right, of_class[LABELS.index(MALIGNANT)] * decided.positive]


def _figures(sums: Floats) -> tuple[Floats, Floats]:
    """Give both models' figures, each (draws, classes + 1): recall of each class, sensitivity at the operating point."""
    width = sums.shape[1] // 2
    malignant = LABELS.index(MALIGNANT)
    found = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for part in (sums[:, :width], sums[:, width:]):
            support = part[:, :_CLASSES]
            recalls = part[:, _CLASSES : 2 * _CLASSES] / support
            found.append(np.column_stack([recalls, part[:, -1] / support[:, malignant]]))
    return found[0], found[1]


def _balanced_accuracy(figures: Floats, present: list[int]) -> Floats:
    return np.asarray(figures[:, present].mean(axis=1), dtype=np.float64)


def _sensitivity(figures: Floats) -> Floats:
    return np.asarray(figures[:, -1], dtype=np.float64)
