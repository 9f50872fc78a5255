"""Answers of a model for many images: the columns that every table of predictions has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.prediction.classifier import Answer

ANSWER_COLUMNS: Final = {
    **dict.fromkeys(LABELS, "float32"),
    "distance": "float32",
    "decision": "str",
    "reason": "str",
}
"""`distance` from the training images is NaN if the model does not measure it; `decision` and `reason` are the decision
rule's."""


@dataclass(frozen=True)
class Answers:
    """The answers for n images.

    Attributes:
        probabilities: shape (n, 3), in `LABELS`' order.
        distances: from the training images, shape (n,); NaN if the model does not measure it.
        decisions, reasons: the decision rule's, n each.
    """

    probabilities: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float64]
    decisions: list[str]
    reasons: list[str]

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Self:
        """Return the answers for single images as one."""
        return cls(
            np.array([answer.probabilities for answer in answers], dtype=np.float64).reshape(-1, len(LABELS)),
            np.array([np.nan if answer.distance is None else answer.distance for answer in answers], dtype=np.float64),
            [answer.decision for answer in answers],
            [answer.reason for answer in answers],
        )

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> Self:
        """Return the answers in a table that has `ANSWER_COLUMNS`."""
        return cls(
            table[list(LABELS)].to_numpy(dtype=np.float64),
            table["distance"].to_numpy(dtype=np.float64),
            table["decision"].tolist(),
            table["reason"].tolist(),
        )

    def part(self, at: npt.NDArray[np.bool_]) -> Self:
        """Return the answers for some of the images, chosen by a mask."""
        chosen = np.flatnonzero(at)
        texts = ([values[one] for one in chosen] for values in (self.decisions, self.reasons))
        return type(self)(self.probabilities[at], self.distances[at], *texts)

    def as_columns(self) -> dict[str, npt.NDArray[np.float64] | list[str]]:
        """Return the values of `ANSWER_COLUMNS`, n each."""
        return {
            **dict(zip(LABELS, self.probabilities.T, strict=True)),
            "distance": self.distances,
            "decision": self.decisions,
            "reason": self.reasons,
        }

    @property
    def known_distances(self) -> npt.NDArray[np.float64] | None:
        """The distances; None if the model does not measure them."""
        return None if np.isnan(self.distances).any() else self.distances
