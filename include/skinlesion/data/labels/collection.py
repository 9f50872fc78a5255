"""Where an image comes from when no column says it: from the lesion's id, or from the image's number in the archive."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

HAM10000: Final = "HAM10000"
BCN20000: Final = "BCN20000"
MSK: Final = "MSK"
ISIC_2020: Final = "ISIC 2020"

NUMBERS: Final = ((0, 16072, MSK), (24306, 34320, HAM10000), (53454, 73254, BCN20000))
"""First and last number (`ISIC_0024306`) of the three collections that ISIC 2019 is made of, as its ground truth and its
metadata have them. HAM10000 fills its range; MSK's images have a lesion's id for 819 of 2,903."""

_LESION_IDS: Final = {HAM10000: r"HAM_", BCN20000: r"BCN_", MSK: r"MSK\d*_"}
"""How the collections call their lesions: `HAM_0000118`, `BCN_0001687`, `MSK4_0011169`."""


def collection_of_lesion(lesion_ids: pd.Series) -> pd.Series:
    """Give the collection that a lesion's id tells, else nothing; str in, str out."""
    return _first_true({name: lesion_ids.str.match(pattern) for name, pattern in _LESION_IDS.items()}, lesion_ids)


def collection_of_number(pictures: pd.Series) -> pd.Series:
    """Give the collection whose images have these numbers, else nothing; str in, str out."""
    is_numbered = pictures.str.fullmatch(r"ISIC_[0-9]{7}")
    numbers = pd.to_numeric(pictures[is_numbered].str.slice(5)).reindex(pictures.index, fill_value=-1)
    return _first_true({name: numbers.between(first, last) for first, last, name in NUMBERS}, pictures)


def _first_true(is_from: dict[str, pd.Series], texts: pd.Series) -> pd.Series:
    collections = np.full(len(texts), "", dtype=object)
    for name, mask in is_from.items():
        collections[mask.to_numpy(dtype=bool)] = name
    return pd.Series(collections, index=texts.index, dtype="str")
