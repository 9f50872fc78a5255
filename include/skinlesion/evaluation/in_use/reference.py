"""What a version's weeks in use are compared with: its own answers for the held-out images, which evaluate stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.evaluation.in_use.record import SIGNALS
from skinlesion.evaluation.scored_images import Floats, Ints
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import read_table
from skinlesion.prediction.decision import DecisionRule, rule_beside
from skinlesion.prediction.held_out_scores import STATISTICS_COLUMNS, stored_table
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.group_decisions import NO_ANSWER

SMALLEST_SPREAD: Final = {"size": 0.1, "no_answer": 0.1, "called_malignant": 0.1}
"""Smallest standard deviation that counts, of signals that may be the same in all held-out images."""

_M: Final = LABELS.index(MALIGNANT)


@dataclass(frozen=True)
class Seen:
    """n answers.

    Attributes:
        probabilities: (n, 3).
        signals: (n, k), in the order of `SIGNALS`; NaN where the model does not measure it.
        groups: (n,), images of one group (lesion, case) count as one.
    """

    probabilities: Floats
    signals: Floats
    groups: Ints

    @classmethod
    def of(cls, table: pd.DataFrame, groups: npt.ArrayLike) -> Self:
        """Return the answers of a table with classes, distance, decision, width, height and statistics."""
        probabilities = table[list(LABELS)].to_numpy(dtype=np.float64)
        signals = {
            "p_malignant": probabilities[:, _M],
            "called_malignant": (table["decision"] == MALIGNANT).to_numpy(dtype=np.float64),
            "no_answer": (table["decision"] == NO_ANSWER).to_numpy(dtype=np.float64),
            "distance": np.log(np.maximum(table["distance"].to_numpy(dtype=np.float64), 1e-6)),
            **{name: table[name].to_numpy(dtype=np.float64) for name in SIGNALS if name in STATISTICS},
            "size": np.log2(table["width"].to_numpy(dtype=np.float64) * table["height"].to_numpy(dtype=np.float64)),
        }
        order = np.column_stack([signals[name] for name in SIGNALS])
        return cls(probabilities, order, np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64))

    def part(self, at: npt.NDArray[Any]) -> Self:
        """Return some of the answers, chosen by a mask or by position."""
        groups = np.unique(self.groups[at], return_inverse=True)[1].astype(np.int64)
        return type(self)(self.probabilities[at], self.signals[at], groups)

    @property
    def independent(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


@dataclass(frozen=True)
class Reference:
    """The held-out images of a version.

    Attributes:
        seen: the answers for them. labels: (n,), their classes. rule: how probabilities become a decision.
    """

    seen: Seen
    labels: Ints
    rule: DecisionRule

    @classmethod
    def of(cls, candidate: Candidate) -> Self:
        """Return the reference of a candidate. Raises DataError, which says what is missing."""
        answers = stored_table(candidate)
        try:
            measures = read_table(candidate.picture_statistics, STATISTICS_COLUMNS)
        except OSError as error:
            raise DataError(
                f"The measures of its held-out images cannot be read ({error}). Evaluate it again."
            ) from None
        if answers is None:
            raise DataError(f"{candidate.predictions} cannot be read. Evaluate the version again.")
        table = answers.merge(measures.drop_duplicates("sha256"), on="sha256", validate="many_to_one")
        if len(table) < len(answers):
            raise DataError("The measures of its held-out images are not those of its answers. Evaluate it again.")
        labels = table["label"].map(LABELS.index).to_numpy(dtype=np.int64)
        return cls(Seen.of(table, table["group"]), labels, rule_beside(candidate.h5))
