"""The inner fold: training lesions that are not trained on, for early stopping and whatever else must be decided."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import pandas as pd


def choose_inner_fold(rows: pd.DataFrame, fraction: float) -> npt.NDArray[np.bool_]:
    """Tell which training rows belong to the inner fold, bool (n,).

    rows: columns group, label, copy. Of each class, whole lesions are taken in the order of a hash of their name until
    their originals make up the fraction, at least one where the class has two, so that both sides know the class.
    """
    originals = rows[rows["copy"] == 0]
    lesions = originals.groupby("group", sort=True).agg(images=("label", "size"), label=("label", "min"))
    lesions["order"] = [hashlib.sha256(f"inner fold of {group}".encode()).hexdigest() for group in lesions.index]
    chosen: set[str] = set()
    for _, of_class in lesions.sort_values("order").groupby("label", sort=True):
        wanted = fraction * of_class["images"].sum()
        before = of_class["images"].cumsum() - of_class["images"]
        taken = of_class.index[before < wanted]
        if len(taken) == len(of_class):
            taken = taken[:-1]
        chosen.update(taken)
    return rows["group"].isin(chosen).to_numpy()
