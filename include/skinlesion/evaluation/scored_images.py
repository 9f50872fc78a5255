"""Images with the class of their diagnosis and the probabilities of a model: every figure is computed from these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.foundation.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

SUM_TOLERANCE: Final = 1e-3
"""Largest distance of the sum of a row of probabilities from 1; float16 softmax outputs stay within it."""


@dataclass(frozen=True)
class ScoredImages:
    """n images and the probabilities that a model gave them.

    labels: (n,) int64, indices into `LABELS`. probabilities: (n, 3) float64 in the order of `LABELS`. groups: (n,) int64,
    the lesion of each image, 0..(number of lesions - 1).
    """

    labels: Ints
    probabilities: Floats
    groups: Ints

    @classmethod
    def of(cls, labels: Ints, probabilities: Floats, lesions: Sequence[str]) -> Self:
        """Return the images; `lesions` are n names. Raises DataError without an image, ValueError for what are no probabilities."""
        if len(labels) == 0:
            raise DataError(
                "There is no held-out image to measure the model on. Expected at least one image in the 20 % that training "
                "never sees; add images (a handful of lesions may all fall in the training part) and run ingest again."
            )
        probabilities = np.asarray(probabilities, dtype=np.float64)
        with np.errstate(invalid="ignore"):
            is_right = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1) <= SUM_TOLERANCE)
        if not is_right.all():
            row = int(is_right.argmin())
            raise ValueError(
                f"probabilities must sum to 1 in each row and not be negative; {int((~is_right).sum())} of {len(labels)} rows are "
                f"wrong, the first is row {row}: {probabilities[row].tolist()}"
            )
        groups = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)[1]
        return cls(labels, probabilities, groups.astype(np.int64))

    def part(self, at: Ints | Bools) -> Self:
        """Return some of the images, chosen by position or by a mask."""
        groups = np.unique(self.groups[at], return_inverse=True)[1]
        return type(self)(self.labels[at], self.probabilities[at], groups.astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lesions(self) -> int:
        """Number of lesions that the images show."""
        return int(self.groups.max()) + 1 if len(self) else 0

    @property
    def predicted(self) -> Ints:
        """The likeliest class of each image."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def confidence(self) -> Floats:
        """The probability of the likeliest class."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)

    @property
    def right(self) -> Bools:
        """Whether the likeliest class is that of the diagnosis."""
        return np.asarray(self.predicted == self.labels)

    @property
    def malignant(self) -> Bools:
        """Whether the diagnosis is malignant."""
        return np.asarray(self.labels == LABELS.index(MALIGNANT))

    @property
    def scores(self) -> Floats:
        """The probability of malignant."""
        return self.probabilities[:, LABELS.index(MALIGNANT)]

    def lesions_of(self, chosen: Bools) -> int:
        """Return the number of lesions among the images chosen by a mask."""
        return len(np.unique(self.groups[chosen]))
