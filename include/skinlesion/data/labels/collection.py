"""The collection that an image is from, where no column has it: by its lesion's id or by its number in the archive."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

HAM10000: Final = "HAM10000"
BCN20000: Final = "BCN20000"
MSK: Final = "MSK"
ISIC_2020: Final = "ISIC 2020"

NUMBERS: Final = ((0, 16072, MSK), (24306, 34320, HAM10000), (53454, 73254, BCN20000))
"""First and last number (`ISIC_0024306`) of the three collections that ISIC 2019 is made of, from its ground truth and its
metadata. HAM10000 fills its range; of the 2,903 images of MSK, 819 have a lesion's id."""

_LESION_IDS: Final = {HAM10000: r"HAM_", BCN20000: r"BCN_", MSK: r"MSK\d*_"}
"""The form of each collection's lesion ids: `HAM_0000118`, `BCN_0001687`, `MSK4_0011169`."""


def collection_of_lesion(lesion_ids: pd.Series) -> pd.Series:
    """Return the collection that each lesion id is from, empty where the id does not show it; str in, str out."""
    return _first_true({name: lesion_ids.str.match(pattern) for name, pattern in _LESION_IDS.items()}, lesion_ids)


def collection_of_number(images: pd.Series) -> pd.Series:
    """Return the collection that each image is from by its number, empty where none is; str in, str out."""
    is_numbered = images.str.fullmatch(r"ISIC_[0-9]{7}")
    numbers = pd.to_numeric(images[is_numbered].str.slice(5)).reindex(images.index, fill_value=-1)
    return _first_true({name: numbers.between(first, last) for first, last, name in NUMBERS}, images)


def _first_true(is_from: dict[str, pd.Series], texts: pd.Series) -> pd.Series:
    collections = np.full(len(texts), "", dtype=object)
    for name, mask in is_from.items():
        collections[mask.to_numpy(dtype=bool)] = name
    return pd.Series(collections, index=texts.index, dtype="str")
