"""Statistics of an image that show a change of camera, light or file handling: brightness, contrast, colours."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from skinlesion.data.images.file import Pixels

COLUMNS: Final = dict.fromkeys(
    (
        "brightness", "brightness_spread", "red", "red_spread", "green", "green_spread", "blue", "blue_spread",
        "saturation",
    ),
    "float32",
)  # fmt: skip
"""Name and dtype: means over the pixels and their standard deviations (`_spread`), in grey levels 0..255."""

NOT_KNOWN: Final = dict.fromkeys(COLUMNS, float("nan"))
"""The values for a file that does not decode."""


def image_statistics(small: Pixels) -> dict[str, float]:
    """Return the values of `COLUMNS` for an image, RGB uint8 (height, width, 3).

    Brightness is the luma of ITU-R BT.601; saturation the mean of the largest minus the smallest colour of a pixel,
    which unlike HSV's does not jump in dark pixels.
    """
    # In the order of COLUMNS
    of_colours = zip(*cv2.meanStdDev(small), strict=True)
    brightness = cv2.meanStdDev(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
    red, green, blue = cv2.split(small)
    largest, smallest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    pairs = np.array([np.ravel(brightness), *map(np.ravel, of_colours)])
    values = [*pairs.ravel().tolist(), cv2.mean(largest)[0] - cv2.mean(smallest)[0]]
    return dict(zip(COLUMNS, values, strict=True))
