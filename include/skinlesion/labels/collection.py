"""Where an image comes from when no column says it: from the lesion's id, or from the image's number in the archive."""

from __future__ import annotations

import re
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

_LESION_ID: Final = re.compile(r"(HAM|BCN|MSK)\d*_")
_COLLECTION_OF_PREFIX: Final = {"HAM": HAM10000, "BCN": BCN20000, "MSK": MSK}


def collection_of_lesion(lesion_id: str) -> str:
    """Give the collection whose lesions are called so (`HAM_0000118`, `BCN_0001687`, `MSK4_0011169`), else nothing."""
    found = _LESION_ID.match(lesion_id)
    return _COLLECTION_OF_PREFIX[found[1]] if found else ""


def collection_of_number(pictures: pd.Series) -> pd.Series:
    """Give the collection whose images have these numbers, else nothing; str in, str out."""
    digits = pictures.str.extract(r"^ISIC_(\d{7})$", expand=False)
    numbers = pd.to_numeric(digits, errors="coerce").to_numpy("float64", na_value=np.nan)
    collections = np.full(len(pictures), "", dtype=object)
    for first, last, name in NUMBERS:
        collections[(numbers >= first) & (numbers <= last)] = name
    return pd.Series(collections, index=pictures.index, dtype="str")
