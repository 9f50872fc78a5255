"""Duplicates with different diagnoses: one of the diagnoses is wrong, and the program cannot know which."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import pandas as pd

from skinlesion.data.labels.classes import UNKNOWN

NOT_STATED: Final = "unknown"
"""What a table says that knows no diagnosis. An image of which no table says anything is in the pool, and contradicts nothing."""


def conflicting_diagnoses(
    images: pd.DataFrame, duplicates: pd.Series, reviewed: Collection[str] = frozenset()
) -> pd.Series:
    """Return the reason of each image that is set aside, by the index of its row.

    All images of a set of duplicates are set aside when two of them differ in diagnosis or in class. When only some of them
    have a diagnosis, those that are stated to have none (`unknown`) are set aside. Where people looked at some and agree, those keep their diagnosis.

    images: columns image, dx, label. duplicates: the name of each image's set of duplicates, aligned, as `duplicate_sets`
    returns it. reviewed: the names of the images to which people who looked gave the diagnosis.
    """
    shared = images[duplicates.duplicated(keep=False) & (duplicates != "")]
    reasons: dict[object, str] = {}
    for _, same in shared.sort_values("image").groupby(duplicates[shared.index], sort=True):
        if same["dx"].nunique() > 1 or same["label"].nunique() > 1:
            looked_at = same[same["image"].isin(reviewed)]
            agree = looked_at["dx"].nunique() == 1 and looked_at["label"].nunique() == 1
            reasons.update(_beside_a_review(same, looked_at.iloc[0]) if agree else _reasons(same))
    return pd.Series(reasons, dtype="str").sort_index()


def _beside_a_review(same: pd.DataFrame, looked_at: pd.Series) -> dict[object, str]:
    """Return the index and the reason of the images of a set that differ from one that a person looked at."""
    differs = (same["dx"] != looked_at["dx"]) | (same["label"] != looked_at["label"])
    return {
        index: f"the same picture as {looked_at['image']}, which a person looked at and called {_diagnosis(looked_at)}; the tables "
        f"say {_diagnosis(row)} here"
        for index, row in same[differs].iterrows()
    }


def _reasons(same: pd.DataFrame) -> dict[object, str]:
    """Return the index and the reason of those images of one set of duplicates that are set aside."""
    has_none = (same["dx"] == NOT_STATED) & (same["label"] == UNKNOWN)
    diagnosed = same[~has_none]
    if diagnosed.empty:
        return {}
    first = diagnosed.iloc[0]
    reasons: dict[object, str] = {
        index: f"the same picture as {first['image']}, which has the diagnosis {_diagnosis(first)}; this one has none"
        for index in same.index[has_none]
    }
    named = diagnosed.loc[diagnosed["dx"] != NOT_STATED, "dx"]
    if named.nunique() < 2 and diagnosed["label"].nunique() < 2:
        return reasons
    for index, row in diagnosed.iterrows():
        differs = (diagnosed["dx"] != row["dx"]) | (diagnosed["label"] != row["label"])
        other = diagnosed[differs].iloc[0]
        reasons[index] = (
            f"the same picture as {other['image']} with another diagnosis: {_diagnosis(row)} here, {_diagnosis(other)} "
            "there; set aside until they agree"
        )
    return reasons


def _diagnosis(row: pd.Series) -> str:
    return str(row["label"] if row["dx"] == NOT_STATED else row["dx"])
