"""The eight orientations of an image: quarter turns and their mirror images.

A dermoscopic image has no up and no left, so each orientation shows the same lesion. Training draws among them.
"""

from __future__ import annotations

from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

ORIENTATIONS: Final = 8

Value = TypeVar("Value", bound=np.generic)


def oriented(image: npt.NDArray[Value], orientation: int) -> npt.NDArray[Value]:
    """Return an image, (height, width, ...), in one of the eight orientations, as an array of its own.

    Orientation 0 is the image as it is, 1 is mirrored left to right, 2 top to bottom, and 3 both, which is half a turn. 4 to
    7 are the same after rows and columns are swapped. Raises ValueError for any other number.
    """
    if not 0 <= orientation < ORIENTATIONS:
        raise ValueError(f"expected an orientation of 0..{ORIENTATIONS - 1}; received {orientation}")
    if orientation & 4:
        image = image.swapaxes(0, 1)
    if orientation & 1:
        image = image[:, ::-1]
    if orientation & 2:
        image = image[::-1]
    return np.ascontiguousarray(image)
