"""The flips of an image that a prediction is averaged over: a dermoscopic image has no up and no left."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

VIEW_COUNTS: Final = (1, 2, 4)
"""As it is; and mirrored; and both upside down."""


def prediction_views(image: npt.NDArray[Any], count: int) -> list[npt.NDArray[Any]]:
    """Give the image (height, width, 3) and its flips, `count` in all, one of `VIEW_COUNTS`."""
    if count not in VIEW_COUNTS:
        raise ValueError(f"expected one of {VIEW_COUNTS} views, received {count}")
    views = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
    return [np.ascontiguousarray(view) for view in views[:count]]
