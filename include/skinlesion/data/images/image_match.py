"""The likeness of two images once they are registered: what a perceptual hash suggests, the pixels prove.

A dark spot on light skin is like any other, so what counts is the fine structure: hair, network, pores, texture of the
skin. Both images are reduced to detail of a few pixels, everywhere of the same strength, and the likeness is the
correlation of the two.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion.data.images.file import ImageHeader, Pixels, decode
from skinlesion.data.images.orientation import ORIENTATIONS, oriented

Plane = npt.NDArray[np.float32]
"""Grey levels, (height, width)."""

LEAST_LIKENESS: Final = 0.8
"""Likeness from which two images are duplicates. In HAM10000 at 200x150, of 27,000 pairs of different lesions whose hashes
are nearest, no two unrelated ones reach 0.70; copies there at JPEG quality 50 have 0.90 or more, and copies of 600x450
originals, turned, mirrored, cropped by 3 % on each side and compressed, 0.97 or more."""

FARTHEST_MOVE: Final = 0.08
"""Share of the image's side by which a corner may move. A crop by 3 % on each side moves them by 0.034; two shots of one
lesion under two ids by 0.07 (HAM10000: ISIC_0034228 and ISIC_0034248, ISIC_0029152 and ISIC_0033173)."""

LIKENESS_VERSION: Final = 1
"""Number of this measure. Count it up when the same two images may get another likeness."""

_SIDE: Final = 96  # pixels, the short side; finer detail does not survive JPEG at quality 50
_COARSE_SIDE: Final = 32  # pixels, both sides, to find the orientation
_LEAST_COARSE: Final = 0.4  # correlation; crops by 3 % on each side have 0.73 and more
_LEAST_AT_HALF: Final = 0.65  # likeness at half the size, where copies have 0.92 or more
_FAINTEST_DETAIL: Final = 1.0  # grey level; below it is what compression leaves


def grey_image(content: bytes, header: ImageHeader) -> Pixels:
    """Return the grey levels of a file, uint8 (height, width), the short side at most 96. Raises ImageRefused."""
    grey = cv2.cvtColor(decode(content, header, _SIDE), cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = min(1.0, _SIDE / min(height, width))
    size = (round(width * scale), round(height * scale))
    return cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def likeness(first: Pixels, second: Pixels) -> float:
    """Return the correlation, -1 to 1, of the detail of two grey images in the best of the eight orientations.

    It is 0 where they cannot be registered without moving a corner by more than `FARTHEST_MOVE`.
    """
    side = min(*first.shape, *second.shape)
    base = _shrink(first, side)
    other = _oriented_like(base, _shrink(second, side))
    if other is None:
        return 0.0
    # At half the size first: it costs an eighth, and most pairs end here.
    half = (base.shape[1] // 2, base.shape[0] // 2)
    start = np.eye(2, 3, dtype=np.float32)
    at_half, transform = _registered_likeness(_resize(base, half), _resize(other, half), start, iterations=10)
    if transform is None or at_half < _LEAST_AT_HALF:
        return at_half
    transform[:, 2] *= 2
    return _registered_likeness(base, other, transform, iterations=20)[0]


def _registered_likeness(base: Plane, other: Plane, start: Plane, iterations: int) -> tuple[float, Plane | None]:
    """Return the likeness of the base and the other image registered to it, and the transform; 0 and None without one."""
    transform = _register(base, other, start, iterations)
    if transform is None:
        return 0.0, None
    size = (base.shape[1], base.shape[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    registered = cv2.warpAffine(other, transform, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpAffine(np.ones_like(other), transform, size, flags=flags) > 0.99
    inside = cv2.erode(covered.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return _correlation(_detail(base)[inside], _detail(np.asarray(registered, dtype=np.float32))[inside]), transform


def _shrink(image: Pixels, side: int) -> Plane:
    height, width = image.shape
    scale = min(1.0, side / min(height, width))
    return _resize(image.astype(np.float32), (max(side, round(width * scale)), max(side, round(height * scale))))


def _resize(image: Plane, size: tuple[int, int]) -> Plane:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _oriented_like(base: Plane, other: Plane) -> Plane | None:
    """Return the other image in the orientation that is most like the base, at its size; None when none is like it."""
    coarse = _coarse(base)
    in_all = [oriented(other, orientation) for orientation in range(ORIENTATIONS)]
    correlations = [_correlation(coarse, _coarse(one)) for one in in_all]
    best = int(np.argmax(correlations))
    if correlations[best] < _LEAST_COARSE:
        return None
    return _resize(in_all[best], (base.shape[1], base.shape[0]))


def _coarse(image: Plane) -> Plane:
    return _resize(image, (_COARSE_SIDE, _COARSE_SIDE))


def _register(base: Plane, other: Plane, start: Plane, iterations: int) -> Plane | None:
    """Return the affine transform, (2, 3), from the base's pixels to the other's; None when there is none near identity.

    It maximises the enhanced correlation coefficient (Evangelidis and Psarakis, PAMI 30:1858, 2008) of band-passed images.
    On plain grey levels it fails for one image of fifty, because the light of the whole field outweighs the detail.
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
    transform: Plane = found.astype(np.float32, copy=False)
    corners = np.array([(0, 0, 1), (width, 0, 1), (0, height, 1), (width, height, 1)], dtype=np.float32)
    moves = np.abs(corners @ transform.T - corners[:, :2]) / (width, height)
    return transform if moves.max() <= FARTHEST_MOVE else None


def _detail(image: Plane) -> Plane:
    """Return the detail of a few pixels, divided by its strength in the neighbourhood."""
    detail = _band(image, 4)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 4))
    return np.asarray(detail / (strength + _FAINTEST_DETAIL), dtype=np.float32)


def _band(image: Plane, coarsest: float) -> Plane:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1) - cv2.GaussianBlur(image, (0, 0), coarsest))


def _correlation(one: Plane, other: Plane) -> float:
    one, other = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / scale if scale > 0 else 0.0
