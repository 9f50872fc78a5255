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

from skinlesion.diagnosis import LABELS
from skinlesion.image_file import FORMATS, Pixels, encode_jpeg
from skinlesion.workers import spread

SIDE: Final = 80
"""Pixels of a picture in a contact sheet."""

COLUMNS: Final = 12
ROWS: Final = 4

THUMBNAIL_SIDE: Final = 128
QUALITY: Final = 82

_GROUND: Final = 232  # grey level behind pictures that are not square, and of empty places


def chosen(images: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give, by class, the images of its contact sheet: by their content's hash, one of a lesion. The same every night.

    images: columns label, group, sha256, file.
    """
    by_hash = images.sort_values("sha256").drop_duplicates("group")
    return {label: by_hash[by_hash["label"] == label].head(COLUMNS * ROWS) for label in LABELS}


def contact_sheet(folder: Path, files: list[str], *, max_pixels: int, workers: int) -> bytes:
    """Give one JPEG with a picture of each file, COLUMNS abreast; a place stays empty where a file cannot be shown."""
    sheet = np.full((-(-len(files) // COLUMNS) * SIDE, COLUMNS * SIDE, 3), _GROUND, dtype=np.uint8)
    pictures = _thumbnails(folder, files, SIDE, max_pixels, workers)
    for place, picture in enumerate(pictures):
        if picture is not None:
            top, left = place // COLUMNS * SIDE, place % COLUMNS * SIDE
            sheet[top : top + SIDE, left : left + SIDE] = picture
    return encode_jpeg(sheet, QUALITY)


def thumbnails(folder: Path, files: list[str], *, max_pixels: int, workers: int) -> list[bytes | None]:
    """Give a JPEG of each file, THUMBNAIL_SIDE square; None where nothing of it can be shown."""
    pictures = _thumbnails(folder, files, THUMBNAIL_SIDE, max_pixels, workers)
    return [None if picture is None else encode_jpeg(picture, QUALITY) for picture in pictures]


def _thumbnails(folder: Path, files: list[str], side: int, max_pixels: int, workers: int) -> list[Pixels | None]:
    show = partial(_thumbnail, folder=folder, side=side, max_pixels=max_pixels)
    return list(spread(show, files, workers=workers, kind="threads"))


def _thumbnail(file: str, *, folder: Path, side: int, max_pixels: int) -> Pixels | None:
    """Give RGB uint8 (side, side, 3) of a file that may be damaged; nothing here is trained on."""
    try:
        with Image.open(io.BytesIO((folder / file).read_bytes()), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                return None
            image.draft("RGB", (2 * side, 2 * side))
            turned = ImageOps.exif_transpose(image)
            pixels = np.asarray(_on_ground(turned), dtype=np.uint8)
    except Exception:  # whatever a decoder makes of a damaged file: there is no picture to show
        return None
    scale = side / max(pixels.shape[:2])
    width, height = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    square = np.full((side, side, 3), _GROUND, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = small
    return square


def _on_ground(image: Image.Image) -> Image.Image:
    """Give the picture in RGB, what is transparent filled with the ground's grey."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (_GROUND, _GROUND, _GROUND, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
