from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import pytest
from tests.data.images.pictures import drawn

from skinlesion.data.images.file import Pixels, read_header
from skinlesion.data.images.image_match import LEAST_LIKENESS, grey_image, likeness

SIZE = (300, 225)


def grey(image: Pixels, quality: int = 90) -> Pixels:
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return grey_image(content, read_header(content))


def cropped(image: Pixels, left: float = 0.0, top: float = 0.0, right: float = 0.0, bottom: float = 0.0) -> Pixels:
    height, width = image.shape[:2]
    return image[
        round(height * top) : height - round(height * bottom), round(width * left) : width - round(width * right)
    ]


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda image: image,
    "quarter turn": lambda image: np.rot90(image, 1),
    "half turn": lambda image: np.rot90(image, 2),
    "three quarters": lambda image: np.rot90(image, 3),
    "mirrored": lambda image: image[:, ::-1],
    "upside down": lambda image: image[::-1],
    "mirrored and turned": lambda image: np.rot90(image[:, ::-1], 1),
    "left edge gone": lambda image: cropped(image, left=0.03),
    "top edge gone": lambda image: cropped(image, top=0.03),
    "right edge gone": lambda image: cropped(image, right=0.03),
    "bottom edge gone": lambda image: cropped(image, bottom=0.03),
    "all edges gone": lambda image: cropped(image, 0.03, 0.03, 0.03, 0.03),
    "cropped and turned": lambda image: np.rot90(cropped(image, left=0.03, top=0.03), 1),
    "half the size": lambda image: np.asarray(cv2.resize(image, (150, 112), interpolation=cv2.INTER_AREA), np.uint8),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_a_duplicate_also_after_strong_compression(copy: str) -> None:
    for lesion in range(4):
        image = drawn(lesion, SIZE, dx="nv")
        original, changed = grey(image), np.ascontiguousarray(COPIES[copy](image))
        for quality in (90, 50):
            of_the_copy = grey(changed, quality)
            assert likeness(original, of_the_copy) >= LEAST_LIKENESS
            assert likeness(of_the_copy, original) >= LEAST_LIKENESS


@pytest.mark.parametrize("lesions", [10, pytest.param(24, marks=pytest.mark.slow)])
def test_other_lesions_are_other_images(lesions: int) -> None:
    images = [grey(drawn(lesion, SIZE, dx=("nv", "mel")[lesion % 2])) for lesion in range(lesions)]
    assert max(likeness(one, other) for one, other in combinations(images, 2)) < LEAST_LIKENESS - 0.1


def test_an_image_cropped_to_a_part_of_itself_is_another() -> None:
    image = drawn(1, SIZE, dx="nv")
    assert likeness(grey(image), grey(cropped(image, 0.2, 0.2, 0.2, 0.2))) < LEAST_LIKENESS


@pytest.mark.parametrize("shape", [(32, 32), (32, 500), (40, 64)])
def test_small_narrow_and_blank_images_can_be_compared(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    blank = np.full(shape, 128, dtype=np.uint8)
    assert likeness(noise, noise) == pytest.approx(1, abs=0.01)
    assert likeness(blank, blank) == 0
    assert likeness(noise, blank) == 0


def test_a_grey_image_is_small_and_keeps_its_aspect() -> None:
    assert grey(drawn(0, (320, 240))).shape == (96, 128)
    assert grey(drawn(0, (64, 48))).shape == (48, 64)
