"""Lesions and patients to which several tables give different ids."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.foundation.components import smallest_connected

_OF_THE_ARCHIVE: Final = r"I[LP]_[0-9]+"  # IL_7252831 is a lesion, IP_0365411 a patient


def one_id_each(given: pd.DataFrame, ids: pd.Index) -> tuple[pd.Index, npt.NDArray[np.int64]]:
    """Return, for each of `ids`, the id that stands for its lesion (or patient), and the images whose ids disagree.

    Ids of one image mean one lesion, and so do ids that images connect along a chain; the first in `ids` stands for them
    all. That keeps the images on one side of the split, whichever table is right. Two ids of an image disagree unless one
    of them is the ISIC Archive's, the other is not, and each occurs with no further id.

    given: columns image and value (a position in `ids`), one row for each id of an image that has more than one.
    """
    first = given.groupby("image")["value"].transform("first")
    other = given["value"] != first
    pairs = pd.DataFrame({"image": given["image"], "one": first, "two": given["value"]})[other]
    first_id = smallest_connected(pairs["one"].to_numpy(), pairs["two"].to_numpy(), len(ids))
    names = ids.take(first_id)

    of_archive = ids.str.fullmatch(_OF_THE_ARCHIVE)
    size = np.bincount(first_id)[first_id]  # number of ids with one meaning; two where it is this pair alone
    is_alias = (of_archive[pairs["one"]] != of_archive[pairs["two"]]) & (size[pairs["one"]] == 2)
    return names, np.unique(pairs.loc[~is_alias, "image"].to_numpy(np.int64))
