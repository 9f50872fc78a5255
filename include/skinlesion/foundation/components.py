"""Connected components: what belongs together because pairs link it, directly or along a chain."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def smallest_connected(
    one: npt.NDArray[np.integer], other: npt.NDArray[np.integer], size: int
) -> npt.NDArray[np.int64]:
    """Return, for each number from 0 to size - 1, the smallest number that it is connected with, int64 (size,).

    one, other: the two numbers of each pair, aligned. A number in no pair is connected with itself alone.
    """
    links = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    _, smallest = np.unique(component, return_index=True)
    connected: npt.NDArray[np.int64] = smallest[component].astype(np.int64, copy=False)
    return connected
