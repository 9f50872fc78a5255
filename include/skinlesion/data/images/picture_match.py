"""How alike two pictures are once one is laid on the other: what a perceptual hash supposes, pixels prove.

A dark spot on light skin is like any other, so what counts is the fine structure: hair, network, pores, texture of the
skin. Both pictures are reduced to detail of a few pixels, each place to the same strength, and the likeness is their
correlation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.data.images.file import ImageHeader, Pixels, decode

Plane = npt.NDArray[np.float32]
"""Grey levels, (height, width)."""

SAME_PICTURE: Final = 0.8
"""Likeness from which two pictures are one. In HAM10000 at 200x150, of 27,000 pairs of different lesions whose hashes
are nearest, no two unrelated ones reach 0.70; copies there at JPEG quality 50 have 0.90 or more, and copies of 600x450
originals, turned, mirrored, cropped by 3 % on each side and compressed, 0.97 or more."""

FARTHEST_MOVE: Final = 0.08
"""Of the picture's side: how far a corner may move. A crop by 3 % on each side moves them by 0.034; two shots of one
lesion under two ids by 0.07 (HAM10000: ISIC_0034228 and ISIC_0034248, ISIC_0029152 and ISIC_0033173)."""

LIKENESS_VERSION: Final = 1
"""Goes up when the same two pictures may get another likeness."""

_SIDE: Final = 96  # pixels, the short side; finer detail does not survive JPEG at quality 50
_GLANCE: Final = 32  # pixels, both sides, to see which way up
_LEAST_GLANCE: Final = 0.4  # correlation; crops by 3 % on each side have 0.73 and more
_WORTH_THE_WHOLE: Final = 0.65  # likeness at half the size, where copies have 0.92 or more
_FAINTEST_DETAIL: Final = 1.0  # grey level; below it is what compression leaves


def grey_picture(content: bytes, header: ImageHeader) -> Pixels:
    """Decode a file to grey levels, uint8 (height, width), the short side at most 96. Raises ImageRefused."""
    grey = cv2.cvtColor(decode(content, header, _SIDE), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, _SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def likeness(first: Pixels, second: Pixels) -> float:
    """Give the correlation, -1 to 1, of the detail of two grey pictures in the best of the eight orientations.

    0 where they cannot be laid on each other without moving a corner by more than `FARTHEST_MOVE`.
    """
    side = min(*first.shape, *second.shape)
    base = _shrink(first, side)
    other = _turned_like(base, _shrink(second, side))
    if other is None:
        return 0.0
    # At half the size first, which costs an eighth and is the end of it for most pairs.
    half = (base.shape[1] // 2, base.shape[0] // 2)
    start = np.eye(2, 3, dtype=np.float32)
    alike, place = _lay(_resize(base, half), _resize(other, half), start, iterations=10)
    if place is None or alike < _WORTH_THE_WHOLE:
        return alike
    place[:, 2] *= 2
    return _lay(base, other, place, iterations=20)[0]


def _lay(base: Plane, other: Plane, start: Plane, iterations: int) -> tuple[float, Plane | None]:
    """Lay the other picture on the base: how alike they are then, and the place, from this start; 0 when it has none."""
    place = _place(base, other, start, iterations)
    if place is None:
        return 0.0, None
    size = (base.shape[1], base.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(other, place, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones_like(other), place, size, flags=flags) > 0.99
    inside = cv2.erode(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return _correlation(_detail(base)[inside], _detail(np.asarray(laid, dtype=np.float32))[inside]), place


def _shrink(picture: Pixels, side: int) -> Plane:
    height, width = picture.shape
    scale = min(1.0, side / min(height, width))
    return _resize(picture.astype(np.float32), (max(side, round(width * scale)), max(side, round(height * scale))))


def _resize(picture: Plane, size: tuple[int, int]) -> Plane:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _turned_like(base: Plane, other: Plane) -> Plane | None:
    """Give the orientation of the other picture that is most like the base, at its size; None when none is."""
    glance = _glance(base)
    turned = list(_orientations(other))
    alike = [_correlation(glance, _glance(one)) for one in turned]
    best = int(np.argmax(alike))
    if alike[best] < _LEAST_GLANCE:
        return None
    return _resize(turned[best], (base.shape[1], base.shape[0]))


def _orientations(picture: Plane) -> Iterator[Plane]:
    for turned in (picture, picture.T):
        for mirrored in (turned, turned[:, ::-1]):
            yield np.ascontiguousarray(mirrored)
            yield np.ascontiguousarray(mirrored[::-1])


def _glance(picture: Plane) -> Plane:
    return _resize(picture, (_GLANCE, _GLANCE))


def _place(base: Plane, other: Plane, start: Plane, iterations: int) -> Plane | None:
    """Give the affine map, (2, 3), from the base's pixels to the other's; None when there is none near the identity.

    By the enhanced correlation coefficient (Evangelidis and Psarakis, PAMI 30:1858, 2008). On the plain grey levels it
    loses its way in one picture of fifty, for the light of the whole field outweighs the detail.
    """
    height, width = base.shape
    middle = np.zeros((height, width), dtype=np.uint8)
    middle[height // 20 : height - height // 20, width // 20 : width - width // 20] = 255
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, iterations, 1e-4)
    try:
        _, found = cv2.findTransformECC(
            _band(base, 6), _band(other, 6), start, cv2.MOTION_AFFINE, criteria, middle, gaussFiltSize=1
        )
    except cv2.error:  # OpenCV's way of saying that it found none
        return None
    place: Plane = found.astype(np.float32, copy=False)
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], dtype=np.float32)
    moves = np.abs(corners @ place.T - corners[:, :2]) / (width, height)
    return place if moves.max() <= FARTHEST_MOVE else None


def _detail(picture: Plane) -> Plane:
    """Give the detail of a few pixels, divided by how strong it is round about."""
    detail = _band(picture, 4)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4))
    return np.asarray(detail / (strength + _FAINTEST_DETAIL), dtype=np.float32)


def _band(picture: Plane, coarsest: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1) - cv2.GaussianBlur(picture, (0, 0), coarsest))


def _correlation(one: Plane, other: Plane) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 0.0
