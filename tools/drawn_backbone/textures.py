"""Abstract pictures: a shape with one texture before a ground with another, and what was drawn as labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import cv2
import numpy as np

from skinlesion.data.sources.drawn.noise import TILE_CELL, Array, cell_tile, grid, logistic, sample_tile, smooth_noise

TEXTURES: Final = (
    "gradient", "clouds", "fractal", "stripes", "waves", "checks", "dots", "walls", "blobs", "rings", "strokes", "grains",
)  # fmt: skip
SHAPES: Final = ("none", "ellipse", "triangle", "rectangle", "hexagon", "flower", "star", "lobed")

MEASURES: Final = (
    *(f"{part}_{channel}" for part in ("ground", "shape") for channel in ("red", "green", "blue")),
    "ground_contrast", "shape_contrast", "ground_period", "shape_period", "ground_cos", "ground_sin", "shape_cos",
    "shape_sin", "size", "softness",
)  # fmt: skip
"""What is measured of an abstract picture: mean colours (0..1), contrast of the two colours of a texture, logarithm of its
period in pixels, cosine and sine of twice its direction, and of the shape its radius and the softness of its border."""


def draw_abstract(rng: np.random.Generator, side: int) -> tuple[Array, int, int, int, Array]:
    """Return an abstract picture and what it shows.

    Returns:
        the picture, uint8 (side, side, 3), RGB; the numbers of the ground's texture, of the shape's texture and of the
        shape; the measures, float32 (16,), nan where there is nothing to measure.
    """
    ground, of_shape = _textured(rng, side), _textured(rng, side)
    shape = int(rng.integers(len(SHAPES)))
    size, soft = float(rng.uniform(0.3, 0.85)), float(rng.choice((0.02, 0.05, 0.12, 0.3)))
    picture, border = ground.picture, (size, float(np.log(soft)))
    if SHAPES[shape] == "none":
        nothing = float("nan")
        of_shape = Textured(picture, -1, (nothing,) * 3, nothing, nothing, (nothing,) * 2)
        border = (nothing, nothing)
    else:
        cover = _cover(rng, side, SHAPES[shape], size, soft)[:, :, None]
        picture = picture * (1 - cover) + of_shape.picture * cover
    measures = (
        *ground.colour, *of_shape.colour, ground.contrast, of_shape.contrast, ground.period, of_shape.period,
        *ground.direction, *of_shape.direction, *border,
    )  # fmt: skip
    photograph = _photographed(picture, rng)
    return photograph, ground.texture, of_shape.texture, shape, np.array(measures, np.float32)


class Textured(NamedTuple):
    """A texture in two colours, float32 (side, side, 3), 0..255, its number in `TEXTURES`, and what is measured of it."""

    picture: Array
    texture: int
    colour: tuple[float, ...]
    contrast: float
    period: float
    direction: tuple[float, ...]


def _textured(rng: np.random.Generator, side: int) -> Textured:
    number = int(rng.integers(len(TEXTURES)))
    name = TEXTURES[number]
    period, turn = float(np.exp(rng.uniform(np.log(4), np.log(40)))), float(rng.uniform(0, np.pi))
    pattern = np.clip(PATTERNS[name](rng, side, period, turn), 0, 1)[:, :, None]
    one = rng.uniform(0, 255, 3) if rng.random() < 0.5 else rng.uniform((120, 60, 40), (245, 200, 190))
    contrast = rng.uniform(15, 160)
    way = rng.normal(0, 1, 3)
    if rng.random() < 0.5:
        way = np.ones(3) * rng.choice((-1, 1)) + rng.normal(0, 0.2, 3)
    two = np.clip(one + contrast * way / np.linalg.norm(way), 0, 255)
    picture = (one + (two - one) * pattern).astype(np.float32)
    directed = name in ("gradient", "stripes", "waves", "checks", "strokes")
    return Textured(
        picture,
        number,
        tuple(picture.mean((0, 1)) / 255),
        float(np.linalg.norm(two - one)) / 255,
        float("nan") if name == "gradient" else float(np.log(period)),
        (float(np.cos(2 * turn)), float(np.sin(2 * turn))) if directed else (float("nan"),) * 2,
    )


def _along(side: int, turn: float) -> Array:
    x, y, _, _ = grid(side)
    return np.asarray((x * np.cos(turn) + y * np.sin(turn)) * side / 2)


def _gradient(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    return np.asarray(0.5 + _along(side, turn) / side)


def _clouds(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    return np.asarray(0.5 + 0.35 * smooth_noise(rng, side, side, max(2, round(side / period))))


def _fractal(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    waves = max(2, round(side / period / 2))
    octaves = (0.5**n * smooth_noise(rng, side, side, min(side, waves * 2**n)) for n in range(4))
    return np.asarray(0.5 + 0.25 * sum(octaves))


def _stripes(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    sharp = rng.uniform(0.7, 4)
    return np.asarray(0.5 + 0.5 * np.tanh(sharp * np.sin(2 * np.pi * _along(side, turn) / period + rng.uniform(0, 6))))


def _waves(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    bend = rng.uniform(0.3, 0.9) * smooth_noise(rng, side, side, max(2, round(side / period / 2)))
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * (_along(side, turn) / period + bend)))


def _checks(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    one, two = (np.sin(2 * np.pi * _along(side, turn + more) / period) for more in (0, np.pi / 2))
    return np.asarray(0.5 + 0.5 * np.tanh(4 * one * two))


def _dots(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    one, two = (np.sin(2 * np.pi * _along(side, turn + more) / period) for more in (0, np.pi / 2))
    return logistic(((one + two) / 2 - rng.uniform(0.2, 0.7)) / 0.08)


def _cells(rng: np.random.Generator, side: int, period: float) -> tuple[Array, Array, Array]:
    tile = sample_tile(cell_tile(bool(rng.random() < 0.5)), rng, side, side, period / TILE_CELL)
    centre, wall, lot = cv2.split(tile)
    return centre, wall, lot


def _walls(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    _, wall, _ = _cells(rng, side, period)
    return np.asarray(np.exp(-((wall / rng.uniform(0.08, 0.25)) ** 2)))


def _blobs(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    centre, _, lot = _cells(rng, side, period)
    rare = rng.uniform(0, 0.8)
    return logistic((0.36 * (lot - rare) / (1 - rare) - centre) / 0.05)


def _rings(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    x, y, _, _ = grid(side)
    distance = np.hypot(x - rng.uniform(-0.6, 0.6), y - rng.uniform(-0.6, 0.6)) * side / 2
    return np.asarray(0.5 + 0.5 * np.sin(2 * np.pi * distance / period))


def _strokes(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    mask: Array = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(4, 60))):
        angle, length = turn + rng.normal(0, 0.25), period * rng.uniform(0.6, 2)
        middle = rng.uniform(-0.1, 1.1, 2) * side
        half = 0.5 * length * np.array((np.cos(angle), np.sin(angle)))
        ends = (np.array((middle - half, middle, middle + half)) + rng.normal(0, 0.06 * length, (3, 2))) * 16
        cv2.polylines(mask, [ends.astype(np.int32)], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
    return np.asarray(mask / 255)


def _grains(rng: np.random.Generator, side: int, period: float, turn: float) -> Array:
    few = int(max(3, side / period * 2))
    grains = (rng.random((few, few)) < rng.uniform(0.1, 0.5)).astype(np.float32)
    return np.asarray(cv2.resize(grains, (side, side), interpolation=cv2.INTER_NEAREST))


PATTERNS: Final[dict[str, Callable[[np.random.Generator, int, float, float], Array]]] = {
    "gradient": _gradient, "clouds": _clouds, "fractal": _fractal, "stripes": _stripes, "waves": _waves, "checks": _checks,
    "dots": _dots, "walls": _walls, "blobs": _blobs, "rings": _rings, "strokes": _strokes, "grains": _grains,
}  # fmt: skip
"""Each takes the random numbers, the side, the period and the direction, and returns 0..1, (side, side)."""


def _cover(rng: np.random.Generator, side: int, shape: str, size: float, soft: float) -> Array:
    """Return how much the shape covers of each pixel, 0..1, (side, side)."""
    x, y, _, _ = grid(side)
    x, y = x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)
    turn = rng.uniform(0, 2 * np.pi)
    x, y = x * np.cos(turn) + y * np.sin(turn), (y * np.cos(turn) - x * np.sin(turn)) * rng.uniform(1, 1.6)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    corners = {"triangle": 3, "rectangle": 4, "hexagon": 6}.get(shape)
    if corners:
        sector = np.pi / corners
        border = np.cos(sector) / np.cos(np.mod(angle, 2 * sector) - sector)
    elif shape == "ellipse":
        border = np.ones_like(angle)
    elif shape == "lobed":
        border = np.ones_like(angle)
        for waves in range(2, 9):
            border += rng.normal(0, 0.35) / waves * np.cos(waves * angle + rng.uniform(0, 6))
    else:
        leaves, depth = int(rng.integers(4, 9)), rng.uniform(0.15, 0.35)
        wave = np.cos(leaves * angle)
        border = 1 + depth * (wave if shape == "flower" else 1 - 2 * np.abs(np.arcsin(wave)) / (np.pi / 2))
    return logistic((size * np.maximum(border, 0.1) - radius).astype(np.float32) / (soft * size))


def _photographed(picture: Array, rng: np.random.Generator) -> Array:
    """Return the picture under a light of its own, blurred a little at times, with the grain of a camera, uint8."""
    if rng.random() < 0.4:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.2))
    picture = picture * rng.uniform(0.8, 1.1) * rng.uniform(0.94, 1.06, 3)
    picture = picture + rng.normal(0, rng.uniform(0, 6), picture.shape[:2])[:, :, None]
    return np.asarray(np.clip(picture, 0, 255).astype(np.uint8))
