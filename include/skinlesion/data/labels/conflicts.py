"""Which images show the same picture under two diagnoses: one is wrong, and nobody here can say which."""

from __future__ import annotations

from typing import Final

import pandas as pd

from skinlesion.data.labels.classes import UNKNOWN

NO_DIAGNOSIS: Final = ("", "unknown")
"""What a table says where it names none; the class may still be known (ISIC 2020)."""


def conflicting_diagnoses(images: pd.DataFrame, pictures: pd.Series) -> pd.Series:
    """Give the reason why an image is set aside, for those that are, by the rows' index.

    images: columns image, dx, label. pictures: the name of the picture each shows, aligned. All images of a picture are
    set aside when two of them differ in diagnosis or in class; an image with neither is, when another has one, alone.
    """
    shared = images[pictures.duplicated(keep=False) & (pictures != "")]
    reasons: dict[object, str] = {}
    for _, same in shared.sort_values("image").groupby(pictures[shared.index], sort=True):
        if same["dx"].nunique() > 1 or same["label"].nunique() > 1:
            reasons.update(_reasons(same))
    return pd.Series(reasons, dtype="str").sort_index()


def _reasons(same: pd.DataFrame) -> dict[object, str]:
    """Give index and reason of those images of one picture that are set aside."""
    says_nothing = same["dx"].isin(NO_DIAGNOSIS) & (same["label"] == UNKNOWN)
    diagnosed = same[~says_nothing]
    if diagnosed.empty:
        return {}
    first = diagnosed.iloc[0]
    reasons: dict[object, str] = {
        index: f"the same picture as {first['image']}, which has the diagnosis {_diagnosis(first)}; this one has none"
        for index in same.index[says_nothing]
    }
    named = diagnosed.loc[~diagnosed["dx"].isin(NO_DIAGNOSIS), "dx"]
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
    return str(row["label"] if row["dx"] in NO_DIAGNOSIS else row["dx"])
