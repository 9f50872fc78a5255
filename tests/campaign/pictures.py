"""Small pictures of lesions, drawn once from a number, in the formats that people's files have."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIDE = (64, 48)


def pixels(number: int) -> Any:
    """Return the picture of this number, RGB uint8 (48, 64, 3): a dark spot on uneven skin; no two are alike."""
    random = np.random.default_rng(number)
    grid = random.uniform(90, 230, (5, 6, 3)).astype(np.float32)
    skin: Any = cv2.resize(grid, SIDE, interpolation=cv2.INTER_CUBIC)
    mask: Any = np.zeros((SIDE[1], SIDE[0]), np.float32)
    centre = (int(random.integers(20, 44)), int(random.integers(16, 32)))
    axes = (int(random.integers(6, 16)), int(random.integers(5, 12)))
    cv2.ellipse(mask, centre, axes, float(random.uniform(0, 180)), 0, 360, 1.0, -1)
    spot = random.uniform(20, 110, 3).astype(np.float32)
    mask = cv2.GaussianBlur(mask, (5, 5), 0)[..., None]
    noise = random.normal(0, 4, skin.shape).astype(np.float32)
    return np.clip(skin * (1 - mask) + spot * mask + noise, 0, 255).astype(np.uint8)


@cache
def content(number: int, form: str) -> bytes:
    """Return a picture as a file. form: jpg, small (a JPEG of lower quality), png, turned (a JPEG whose EXIF turns it)."""
    picture = Image.fromarray(pixels(number))
    buffer = io.BytesIO()
    if form == "png":
        picture.save(buffer, "PNG")
    elif form == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(buffer, "JPEG", quality=92, exif=exif)
    else:
        picture.save(buffer, "JPEG", quality=75 if form == "small" else 92)
    return buffer.getvalue()
