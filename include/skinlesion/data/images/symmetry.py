"""The eight ways to lay a square picture. A dermoscopic image has no up and no left: each shows the same lesion."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

WAYS: Final = 8
"""Turns by quarters and mirror images: the symmetries of the square."""


def laid(pixels: npt.NDArray[np.uint8], way: int) -> npt.NDArray[np.uint8]:
    """Give a square picture (side, side, 3) laid in one of the eight ways, as an array of its own.

    Way 0 leaves it as it is, 1 mirrors it left-right, 2 top-bottom, 3 does both, which is half a turn; 4 to 7 do the same
    after swapping rows and columns.
    """
    if not 0 <= way < WAYS:
        raise ValueError(f"expected a way of 0..{WAYS - 1}; received {way}")
    if way & 4:
        pixels = pixels.transpose(1, 0, 2)
    if way & 1:
        pixels = pixels[:, ::-1]
    if way & 2:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
