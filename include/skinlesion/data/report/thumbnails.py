"""Small pictures for the data report: thumbnails and contact sheets, as JPEG."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from skinlesion.data.images.file import FORMATS, Pixels, encode_jpeg
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.workers import spread

SIDE: Final = 80
"""Pixels of a picture in a contact sheet."""

COLUMNS: Final = 12
ROWS: Final = 4

THUMBNAIL_SIDE: Final = 128
QUALITY: Final = 82

_GROUND: Final = 128  # grey level behind a picture and of empty places: on a light and on a dark page


def chosen(images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give, by class, the images of its contact sheet: by their content's hash, one of a lesion. The same every night.

    images: columns label, group, sha256, file.
    """
    by_hash = images.sort_values("sha256").drop_duplicates("group")
    return {label: by_hash[by_hash["label"] == label].head(COLUMNS * ROWS) for label in LABELS}


def contact_sheet(folder: Path, files: list[str], *, max_pixels: int, workers: int) -> bytes:
    """Give one JPEG with the middle of each file's picture, COLUMNS abreast; a place is empty where there is none."""
    abreast = min(len(files), COLUMNS)
    sheet = np.full((-(-len(files) // COLUMNS) * SIDE, abreast * SIDE, 3), _GROUND, dtype=np.uint8)
    show = partial(_picture, folder=folder, side=SIDE, max_pixels=max_pixels)
    for place, pixels in enumerate(spread(show, files, workers=workers, kind="threads")):
        if pixels is not None:
            top, left = place // COLUMNS * SIDE, place % COLUMNS * SIDE
            sheet[top : top + SIDE, left : left + SIDE] = _middle(pixels)
    return encode_jpeg(sheet, QUALITY)


def thumbnails(folder: Path, files: list[str], *, max_pixels: int, workers: int) -> list[bytes | None]:
    """Give a JPEG of each file, its long side THUMBNAIL_SIDE; None where nothing of it can be shown."""
    show = partial(_thumbnail, folder=folder, max_pixels=max_pixels)
    return list(spread(show, files, workers=workers, kind="threads"))


def _thumbnail(file: str, *, folder: Path, max_pixels: int) -> bytes | None:
    pixels = _picture(file, folder=folder, side=THUMBNAIL_SIDE, max_pixels=max_pixels)
    if pixels is None:
        return None
    scale = THUMBNAIL_SIDE / max(pixels.shape[:2])
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return encode_jpeg(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False), QUALITY)


def _middle(pixels: Pixels) -> Pixels:
    """Give the square in the middle, RGB uint8 (SIDE, SIDE, 3)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _picture(file: str, *, folder: Path, side: int, max_pixels: int) -> Pixels | None:
    """Give RGB uint8 (height, width, 3) of a file that may be damaged; nothing here is trained on.

    A JPEG comes smaller than stored, its sides at least `side` where they are.
    """
    try:
        with Image.open(io.BytesIO((folder / file).read_bytes()), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                return None
            image.draft("RGB", (side, side))
            return np.asarray(_on_ground(ImageOps.exif_transpose(image)), dtype=np.uint8)
    except Exception:  # whatever a decoder makes of a damaged file: there is no picture to show
        return None


def _on_ground(image: Image.Image) -> Image.Image:
    """Give the picture in RGB, what is transparent filled with the ground's grey."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (_GROUND, _GROUND, _GROUND, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
