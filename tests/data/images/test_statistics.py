from __future__ import annotations

import numpy as np
import pytest

from skinlesion.data.images.file import Pixels
from skinlesion.data.images.statistics import COLUMNS, NOT_KNOWN, image_statistics


def halves(first: tuple[int, int, int], second: tuple[int, int, int]) -> Pixels:
    pixels = np.zeros((64, 80, 3), np.uint8)
    pixels[:32], pixels[32:] = first, second
    return pixels


def test_the_means_and_spreads_are_those_of_the_pixels() -> None:
    found = image_statistics(halves((200, 100, 50), (100, 100, 150)))
    assert list(found) == list(COLUMNS) == list(NOT_KNOWN)
    assert (found["red"], found["green"], found["blue"]) == (150, 100, 100)
    assert (found["red_spread"], found["green_spread"], found["blue_spread"]) == (50, 0, 50)
    assert found["saturation"] == pytest.approx((150 + 50) / 2)
    assert found["brightness"] == pytest.approx(0.299 * 150 + 0.587 * 100 + 0.114 * 100, abs=1)


@pytest.mark.parametrize("grey", [0, 255])
def test_a_picture_of_one_grey_has_no_spread_and_no_saturation(grey: int) -> None:
    found = image_statistics(halves((grey,) * 3, (grey,) * 3))
    assert found["brightness"] == found["red"] == grey
    assert found["saturation"] == found["brightness_spread"] == found["blue_spread"] == 0
