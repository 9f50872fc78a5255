"""Diagnoses of tables that another table overrules, because people looked at the image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


def overruled(codes: Codes, image: Codes, is_deciding: npt.NDArray[np.bool_], count: int) -> tuple[Codes, Codes]:
    """Return the codes without those that the deciding table overrules, and what that changes.

    What it changes has three columns: an image for which the deciding table says otherwise, the first code that the other
    tables give it (-1 for none), and the code that it has now.

    codes: of the diagnosis of each row, -1 without one. image: the number of its image, of `count`. is_deciding: whether the row
    is of the deciding table.
    """
    decides = is_deciding & (codes >= 0)
    decided = np.full(count, -1, dtype=np.int64)
    decided[image[decides]] = codes[decides]
    others = np.flatnonzero(~is_deciding & (codes >= 0))[
        ::-1
    ]  # reversed, so that the first of an image is written last
    before = np.full(count, -1, dtype=np.int64)
    before[image[others]] = codes[others]
    differ = np.flatnonzero((decided >= 0) & (decided != before))
    kept = np.where((decided[image] >= 0) & ~is_deciding, -1, codes)
    return kept, np.column_stack([differ, before[differ], decided[differ]])
