from __future__ import annotations

import cv2
import numpy as np
import pytest

from skinlesion.data.images.file import read_header
from skinlesion.data.images.picture_match import SAME_PICTURE, grey_picture, likeness
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view

SIZE = (300, 225)


def drawn(lesion, view=0, dx="nv", size=SIZE):
    drawing = draw_lesion(dx, np.random.default_rng(lesion), size[1])
    return draw_view(drawing, np.random.default_rng((lesion, view)), size)


def grey(picture, quality=90):
    content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return grey_picture(content, read_header(content))


def cropped(picture, left=0.0, top=0.0, right=0.0, bottom=0.0):
    height, width = picture.shape[:2]
    return picture[
        round(height * top) : height - round(height * bottom), round(width * left) : width - round(width * right)
    ]


COPIES = {
    "as it is": lambda picture: picture,
    "quarter turn": lambda picture: np.rot90(picture, 1),
    "half turn": lambda picture: np.rot90(picture, 2),
    "three quarters": lambda picture: np.rot90(picture, 3),
    "mirrored": lambda picture: picture[:, ::-1],
    "upside down": lambda picture: picture[::-1],
    "mirrored and turned": lambda picture: np.rot90(picture[:, ::-1], 1),
    "left edge gone": lambda picture: cropped(picture, left=0.03),
    "top edge gone": lambda picture: cropped(picture, top=0.03),
    "right edge gone": lambda picture: cropped(picture, right=0.03),
    "bottom edge gone": lambda picture: cropped(picture, bottom=0.03),
    "all edges gone": lambda picture: cropped(picture, 0.03, 0.03, 0.03, 0.03),
    "cropped and turned": lambda picture: np.rot90(cropped(picture, left=0.03, top=0.03), 1),
    "half the size": lambda picture: cv2.resize(picture, (150, 112), interpolation=cv2.INTER_AREA),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_the_same_picture_also_after_strong_compression(copy):
    for lesion in range(4):
        picture = drawn(lesion)
        changed = np.ascontiguousarray(COPIES[copy](picture))
        for quality in (90, 50):
            assert likeness(grey(picture), grey(changed, quality)) >= SAME_PICTURE
            assert likeness(grey(changed, quality), grey(picture)) >= SAME_PICTURE


def test_other_lesions_are_other_pictures():
    pictures = [grey(drawn(lesion, dx=("nv", "mel")[lesion % 2])) for lesion in range(24)]
    highest = max(likeness(one, other) for number, one in enumerate(pictures) for other in pictures[:number])
    assert highest < SAME_PICTURE - 0.1


def test_a_picture_cropped_to_a_part_of_itself_is_another():
    picture = drawn(1)
    assert likeness(grey(picture), grey(cropped(picture, 0.2, 0.2, 0.2, 0.2))) < SAME_PICTURE


@pytest.mark.parametrize("shape", [(32, 32), (32, 500), (40, 64)])
def test_small_narrow_and_blank_pictures_can_be_compared(shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    blank = np.full(shape, 128, dtype=np.uint8)
    assert likeness(noise, noise) == pytest.approx(1, abs=0.01)
    assert likeness(blank, blank) == 0
    assert likeness(noise, blank) == 0


def test_a_grey_picture_is_small_and_keeps_its_aspect():
    assert grey(drawn(0, size=(320, 240))).shape == (96, 128)
    assert grey(drawn(0, size=(64, 48))).shape == (48, 64)
