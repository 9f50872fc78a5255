"""Draw a lesion, and photographs of it.

Light is absorbed as in skin: a lesion is a density of melanin and of blood through which the skin behind it shines
(Beer-Lambert law), under what reflects light by itself (scar, keratin, the blue-white veil).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from skinlesion.data.sources.drawn.artefacts import add_bubbles, add_ruler, with_hair
from skinlesion.data.sources.drawn.canvas import Canvas
from skinlesion.data.sources.drawn.diagnoses import PATTERNS
from skinlesion.data.sources.drawn.noise import TILE_CELL, Array, logistic, sample_tile, skin_tile, smooth_noise

SKIN_TONES: Final = np.array(
    [(236, 196, 184), (228, 178, 164), (218, 164, 142), (196, 142, 114), (160, 110, 86), (112, 76, 60)], np.float32
)
"""From light to dark, RGB."""

DRAW_SIDE: Final = 160
"""A lesion is drawn at this many pixels or more and then made smaller, so that its fine structure does not alias."""

NEUTRAL: Final = 200
"""The byte that stands for a factor of one where light is multiplied in bytes, several times faster than in floats."""


@dataclass(frozen=True)
class Lesion:
    """A lesion before it is placed on the skin; a view shows `skin * transmitted + reflected`.

    transmitted: uint8 (side, side, 3), 255 = all light passes. reflected: uint8 (side, side, 3), RGB. skin: float32
    (3,), the person's skin colour, RGB.
    """

    transmitted: Array
    reflected: Array
    skin: Array


def draw_lesion(dx: str, rng: np.random.Generator, side: int) -> Lesion:
    """Return a lesion of a diagnosis on a square of `side` pixels. Raises KeyError for a `dx` outside `PATTERNS`."""
    tone = float(rng.choice((rng.uniform(0, 2.5), rng.uniform(0, 5)), p=(0.65, 0.35)))
    low = min(int(tone), len(SKIN_TONES) - 2)
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    skin = np.clip(skin * rng.uniform(0.96, 1.04, 3), 0, 250).astype(np.float32)
    canvas = Canvas(rng, max(side, DRAW_SIDE))
    PATTERNS[dx](canvas)
    transmitted, reflected = canvas.light()
    if canvas.side != side:
        transmitted = cv2.resize(transmitted, (side, side), interpolation=cv2.INTER_AREA)
        reflected = cv2.resize(reflected, (side, side), interpolation=cv2.INTER_AREA)
    return Lesion(transmitted, reflected, skin)


def draw_view(lesion: Lesion, rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Return a photograph of the lesion: uint8 (height, width, 3), RGB. size: width, height in pixels.

    Each photograph has its own place, angle, magnification, light, focus and artefacts.
    """
    width, height = size
    side = lesion.transmitted.shape[0]
    zoom = rng.uniform(0.95, 1.4) * height / side
    shift = rng.uniform(-0.08, 0.08, 2) * height
    place = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 360)), float(zoom))
    place[:, 2] += (width / 2 - side / 2 + shift[0], height / 2 - side / 2 + shift[1])
    picture = _skin(lesion.skin, rng, width, height)
    clear = (255, 255, 255)
    transmitted = cv2.warpAffine(lesion.transmitted, place, size, borderMode=cv2.BORDER_CONSTANT, borderValue=clear)
    reflected = cv2.warpAffine(lesion.reflected, place, size, borderMode=cv2.BORDER_CONSTANT)
    picture = cv2.add(cv2.multiply(picture, transmitted, scale=1 / 255), reflected)
    if rng.random() < 0.35:
        picture = with_hair(picture, rng)
    focus = rng.uniform(0, 1.1) * height / 450
    if focus > 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), focus)
    if rng.random() < 0.3:
        add_bubbles(picture, rng)
    if rng.random() < 0.2:
        add_ruler(picture, rng)
    picture = cv2.multiply(picture, _illumination(rng, width, height), scale=1 / NEUTRAL)
    grain = rng.integers(0, 256, (height, width), np.uint8)
    noise = cv2.convertScaleAbs(grain, alpha=rng.uniform(0.02, 0.05))
    return np.asarray(cv2.subtract(picture, cv2.merge((noise, noise, noise))))


def _skin(colour: Array, rng: np.random.Generator, width: int, height: int) -> Array:
    """Return bare skin, uint8 (height, width, 3): mottled with pigment and blood, furrowed, with pores."""
    half = (-(-width // 2), -(-height // 2))
    tan = rng.uniform(0.006, 0.016) * smooth_noise(rng, *half, 3)
    red = rng.uniform(0.004, 0.013) * (smooth_noise(rng, *half, 26) + 0.8 * smooth_noise(rng, *half, 90))
    tint = np.array([(-1.0, -0.4, 1), (-1.4, -1.6, 1), (-1.7, -1.4, 1)]) * colour.reshape(3, 1)
    mottled = cv2.convertScaleAbs(cv2.transform(cv2.merge((tan, red)), tint))
    relief = sample_tile(skin_tile(), rng, width, height, height * rng.uniform(0.018, 0.030) / TILE_CELL)
    furrow = rng.uniform(0.2, 0.9)
    deep = np.array([(5 * furrow, -10), (7 * furrow, -16), (7 * furrow, -18)]) / 255
    gain = cv2.transform(relief, np.column_stack((deep, (NEUTRAL,) * 3)))
    return np.asarray(cv2.multiply(cv2.resize(mottled, (width, height)), gain, scale=1 / NEUTRAL))


def _illumination(rng: np.random.Generator, width: int, height: int) -> Array:
    """Return the light on each pixel, uint8 (height, width, 3), `NEUTRAL` = as painted; dark corners included."""
    rows, columns = height // 4 + 2, width // 4 + 2
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    ratio = width / height
    tilt, falloff = rng.uniform(-0.07, 0.07, 2), rng.uniform(0.0, 0.16)
    radius = np.sqrt((x * ratio) ** 2 + y**2) / np.sqrt(ratio**2 + 1)
    light = 1 + tilt[0] * x + tilt[1] * y - falloff * radius**2
    if rng.random() < 0.25:
        # The round field of the lens has a diameter between the height and the diagonal of the picture.
        edge, soft = rng.uniform(0.84, 1.0), rng.uniform(0.008, 0.03)
        light *= 0.03 + 0.97 * logistic((edge - radius) / soft)
    tint = rng.uniform(0.88, 1.06) * rng.uniform(0.96, 1.04, 3)
    gains = (light[:, :, None] * (NEUTRAL * tint)).astype(np.float32)
    return np.asarray(cv2.convertScaleAbs(cv2.resize(gains, (width, height), interpolation=cv2.INTER_LINEAR)))
