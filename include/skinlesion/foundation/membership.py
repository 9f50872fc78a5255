"""Which of many texts are among many others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def is_in(texts: pd.Series, among: pd.Series | Collection[str]) -> pd.Series:
    """Return which texts are among others, bool, with the index of the texts. A missing text is in what has one.

    The same as pandas' `isin`, which makes a Python object of each text that is searched for: for 200,000 hashes among as many it
    takes 15 to 40 times the time (pandas 3.0).
    """
    those = among if isinstance(among, pd.Series) else list(among)
    found = pc.is_in(_texts(texts), value_set=_texts(those))
    return pd.Series(np.asarray(found, dtype=np.bool_), index=texts.index, name=texts.name)


def _texts(values: Any) -> pa.Array | pa.ChunkedArray:
    return pa.array(values, pa.large_string(), from_pandas=True)
