"""The sealed part of the held-out lesions: no night scores it, so its figures show whether those of the nights flatter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import pandas as pd

from skinlesion.data.checks.accepted_data import is_among
from skinlesion.data.labels.classes import MALIGNANT

_KEY: Final = "sealed lesions 1"
"""Of the hash that chooses; pandas takes one of 16 characters."""


@dataclass(frozen=True)
class HeldOutParts:
    """The held-out rows in two parts, by lesion.

    Attributes:
        nightly: what each night's candidate is measured and judged on.
        sealed: what only an opening scores; no row without a sealed part.
        fewest: number of malignant held-out lesions from which there is one.
    """

    nightly: pd.DataFrame
    sealed: pd.DataFrame
    fewest: int

    @classmethod
    def of(cls, rows: pd.DataFrame, share: float, fewest: int) -> Self:
        """Return held-out rows in their parts; rows: columns label, group, lesion.

        A lesion is sealed by a keyed hash of its own name, so what is added beside it changes nothing; about this share of each
        class is. Where lesions turn out to be one, it is sealed if one of them was.
        """
        if share == 0 or _malignant(rows) < fewest:
            return cls(rows, rows.head(0), fewest)
        numbers = pd.util.hash_array(rows["lesion"].to_numpy(dtype=object), hash_key=_KEY)
        is_sealed = is_among(rows["group"], rows.loc[numbers < share * 2.0**64, "group"])
        return cls(rows[~is_sealed].reset_index(drop=True), rows[is_sealed].reset_index(drop=True), fewest)

    @property
    def sentence(self) -> str:
        """Whether there is a sealed part and how large it is, for people."""
        sealed, nightly = _malignant(self.sealed), _malignant(self.nightly)
        if self.sealed.empty:
            return f"No lesion is sealed: that takes {self.fewest} malignant held-out lesions, and there are {nightly}."
        return f"{sealed} of the {sealed + nightly} malignant held-out lesions are sealed: no night scores them."


def _malignant(rows: pd.DataFrame) -> int:
    return int(rows.loc[rows["label"] == MALIGNANT, "group"].nunique())
