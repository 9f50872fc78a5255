"""Thumbnails and contact sheets for the data report, as JPEG."""

from __future__ import annotations

import io
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from skinlesion.data.images.file import FORMATS, ImageRefused, Pixels, decode, eight_bit, encode_jpeg, read_header
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import largest_file
from skinlesion.foundation.regular_file import read_file
from skinlesion.foundation.workers import spread

SIDE: Final = 80
"""Side in pixels of an image in a contact sheet."""

COLUMNS: Final = 12
ROWS: Final = 4

THUMBNAIL_SIDE: Final = 128
QUALITY: Final = 82

_GROUND: Final = 128  # grey level behind images and of empty places, which suits a light and a dark page


def chosen(images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return, by class, the images of its contact sheet, one a lesion.

    They are chosen by the hash of their content, so they are the same every night.

    images: columns label, group, sha256, file.
    """
    by_hash = images.sort_values("sha256").drop_duplicates("group")
    return {label: by_hash[by_hash["label"] == label].head(COLUMNS * ROWS) for label in LABELS}


def contact_sheet(folder: Path, files: list[str], *, max_pixels: int, workers: int) -> bytes:
    """Return one JPEG with the middle of each image, COLUMNS in a row; a place is empty where the file cannot be shown."""
    abreast = min(len(files), COLUMNS)
    sheet = np.full((-(-len(files) // COLUMNS) * SIDE, abreast * SIDE, 3), _GROUND, dtype=np.uint8)
    show = partial(_pixels, folder=folder, side=SIDE, max_pixels=max_pixels)
    for place, pixels in enumerate(spread(show, files, workers=workers, kind="threads")):
        if pixels is not None:
            top, left = place // COLUMNS * SIDE, place % COLUMNS * SIDE
            sheet[top : top + SIDE, left : left + SIDE] = _middle(pixels)
    return encode_jpeg(sheet, QUALITY)


def thumbnails(
    folder: Path, files: list[str], *, max_pixels: int, workers: int, side: int = THUMBNAIL_SIDE
) -> list[bytes | None]:
    """Return a JPEG of each file, its long side at most `side` pixels; None where the file cannot be shown."""
    show = partial(_thumbnail, folder=folder, max_pixels=max_pixels, side=side)
    return list(spread(show, files, workers=workers, kind="threads"))


def _thumbnail(file: str, *, folder: Path, max_pixels: int, side: int) -> bytes | None:
    pixels = _pixels(file, folder=folder, side=side, max_pixels=max_pixels)
    if pixels is None:
        return None
    scale = min(1.0, side / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return encode_jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), QUALITY)


def _middle(pixels: Pixels) -> Pixels:
    """Return the square in the middle, resized to RGB uint8 (SIDE, SIDE, 3)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _pixels(file: str, *, folder: Path, side: int, max_pixels: int) -> Pixels | None:
    """Return RGB uint8 (height, width, 3) of a file that may be damaged, for people to see; None where it cannot be shown.

    A JPEG is reduced while it is decoded, to sides of at least `side` where it has so many pixels.
    """
    try:
        content = read_file(folder / file, most=largest_file(max_pixels))
        with suppress(ImageRefused):
            header = read_header(content)
            return None if header.width * header.height > max_pixels else decode(content, header, side)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                return None
            image.draft("RGB", (side, side))
            return np.asarray(_on_ground(ImageOps.exif_transpose(image)), dtype=np.uint8)
    except Exception:  # decoders raise many kinds of errors on damaged files; each means that it cannot be shown
        return None


def _on_ground(image: Image.Image) -> Image.Image:
    """Return the image in RGB, with grey behind what is transparent."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (_GROUND, _GROUND, _GROUND, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return eight_bit(image).convert("RGB")
