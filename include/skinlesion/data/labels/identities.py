"""Lesions and patients that several tables call differently."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_OF_THE_ARCHIVE: Final = r"I[LP]_[0-9]+"  # IL_7252831 is a lesion, IP_0365411 a patient


def one_name_each(given: pd.DataFrame, ids: pd.Index) -> tuple[pd.Index, npt.NDArray[np.int64]]:
    """Give each id the name of the lesion (or patient) that it means, and the images whose ids disagree.

    given: image and value (a position in `ids`), for each image with more than one id. Ids of one image mean the same, and
    so do those that they lead to; the first in `ids` names them all. That keeps them on one side of the split, whichever
    table is right. They disagree unless one is the archive's name for what the other table calls otherwise, one for one.
    """
    first = given.groupby("image")["value"].transform("first")
    other = given["value"] != first
    pairs = pd.DataFrame({"image": given["image"], "one": first, "two": given["value"]})[other]
    edges = (np.ones(len(pairs), dtype=bool), (pairs["one"].to_numpy(), pairs["two"].to_numpy()))
    _, component = connected_components(coo_array(edges, shape=(len(ids), len(ids))), directed=False)
    _, smallest = np.unique(component, return_index=True)
    names = ids.take(smallest[component])

    of_archive = ids.str.fullmatch(_OF_THE_ARCHIVE)
    size = np.bincount(component)[component]  # two: nothing but this pair
    is_alias = (of_archive[pairs["one"]] != of_archive[pairs["two"]]) & (size[pairs["one"]] == 2)
    return names, np.unique(pairs.loc[~is_alias, "image"].to_numpy(np.int64))
