"""What pairs connect, directly or along a chain, has the smallest number of them all."""

from __future__ import annotations

import numpy as np

from skinlesion.foundation.components import smallest_connected


def test_a_chain_of_pairs_connects_in_any_order_and_what_is_in_no_pair_stays_alone() -> None:
    one, other = np.array([6, 2, 5, 2]), np.array([4, 5, 4, 5])
    assert smallest_connected(one, other, 8).tolist() == [0, 1, 2, 3, 2, 2, 2, 7]
    assert smallest_connected(one[:0], other[:0], 3).tolist() == [0, 1, 2], "without any pair"
