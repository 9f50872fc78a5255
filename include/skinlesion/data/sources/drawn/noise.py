"""Noise and repeating patterns that skin and lesions are drawn from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""float32 unless said otherwise."""

TILE: Final = 512
TILE_CELL: Final = 16
"""Side in pixels of the repeating pattern of cells, and of one cell in it."""


def logistic(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), float32 of the shape of `x`, (height, width)."""
    return np.asarray(1 / (1 + cv2.exp(np.minimum(-x, 60).astype(np.float32))))


@lru_cache(maxsize=4)
def grid(side: int) -> tuple[Array, Array, Array, Array]:
    """Return x, y, radius and angle (0..2 pi) of each pixel of the square -1..1, four arrays (side, side)."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    radius, angle = cv2.cartToPolar(x, y)
    for array in (x, y, radius, angle):
        array.setflags(write=False)
    return x, y, radius, angle


def smooth_noise(rng: np.random.Generator, width: int, height: int, waves: int) -> Array:
    """Return noise (height, width) of about unit deviation with `waves` features along the height, whatever the size."""
    knots = (waves + 3, max(4, round(waves * width / height) + 3))
    coarse = 1.5 * rng.standard_normal(knots, np.float32)
    # A few knots are outside, so that the pattern is not tied to the frame of the picture.
    grown = cv2.resize(coarse, (width + width // 8, height + height // 8), interpolation=cv2.INTER_CUBIC)
    row, column = (int(rng.random() * (big - small)) for big, small in zip(grown.shape, (height, width), strict=True))
    return np.asarray(grown[row : row + height, column : column + width])


def sample_tile(tile: Array, rng: np.random.Generator, width: int, height: int, scale: float) -> Array:
    """Return a randomly placed and turned piece (height, width, c) of an endless pattern, magnified by `scale`."""
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    place = np.array([(cos, -sin, rng.uniform(0, TILE)), (sin, cos, rng.uniform(0, TILE))])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(tile, place, (width, height), flags=flags, borderMode=cv2.BORDER_WRAP))


@lru_cache(maxsize=1)
def skin_tile() -> Array:
    """Return the relief of skin that repeats at its edges, uint8 (TILE, TILE, 2): furrows and pores, 0..255."""
    centre, wall, lot = cv2.split(cell_tile(False))
    furrow, pore = np.exp(-((wall / 0.2) ** 2)), np.maximum(0, 1 - centre / (0.3 * lot + 0.01)) * (lot > 0.8)
    tile = (np.stack((furrow, pore), axis=2) * 255).astype(np.uint8)
    tile.setflags(write=False)
    return tile


@lru_cache(maxsize=2)
def cell_tile(regular: bool) -> Array:
    """Return a pattern of cells that repeats at its edges, float32 (TILE, TILE, 3).

    Channels: distance from the nearest centre and from the wall to the next cell, in cell widths, and a number 0..1 for
    each cell (Worley, A cellular texture basis function, SIGGRAPH 1996).
    """
    rng = np.random.default_rng(1996)
    count = TILE // TILE_CELL
    jitter, bend = (0.26, 0.16) if regular else (0.42, 0.30)
    rows, columns = np.mgrid[:count, :count]
    # Every other row is moved by half a cell: a honeycomb.
    x = columns + 0.5 * (rows % 2) + rng.uniform(-jitter, jitter, (count, count))
    y = rows + rng.uniform(-jitter, jitter, (count, count))
    lots = rng.random((count, count))
    py, px = np.mgrid[:TILE, :TILE] / TILE_CELL
    # Walls in tissue are not straight. Whole numbers of waves keep the pattern endless.
    for waves, size in ((5, 1.0), (11, 0.7), (23, 0.4)):
        for _ in range(3):
            along, across = rng.integers(-waves, waves + 1, 2)
            phase = 2 * np.pi * ((along * px + across * py) / count + rng.random())
            py, px = py + bend * size * 0.4 * np.sin(phase), px + bend * size * 0.4 * np.cos(phase)
    near = np.full((TILE, TILE), np.inf)
    second = near.copy()
    lot = np.zeros((TILE, TILE))
    for down in range(-2, 3):
        for right in range(-2, 3):
            row, column = np.floor(py).astype(int) + down, np.floor(px).astype(int) + right
            at = (row % count, column % count)
            distance = np.hypot(px - x[at] - (column - at[1]), py - y[at] - (row - at[0]))
            closer = distance < near
            second = np.where(closer, near, np.minimum(second, distance))
            near = np.where(closer, distance, near)
            lot = np.where(closer, lots[at], lot)
    tile = np.stack((near, (second - near) / 2, lot), axis=2).astype(np.float32)
    tile.setflags(write=False)
    return tile
