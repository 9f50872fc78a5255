"""Drawn pictures of lesions, each drawn once for all tests of a process."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from skinlesion.data.images.file import Pixels
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view

LARGEST_DRAWN = (600, 450)


@cache
def drawn(lesion: int, size: tuple[int, int] = (120, 90), *, dx: str = "mel", view: int = 0) -> Pixels:
    """Return a read-only picture of width x height pixels; one larger than LARGEST_DRAWN repeats itself."""
    width, height = (min(sides) for sides in zip(size, LARGEST_DRAWN, strict=True))
    drawing = draw_lesion(dx, np.random.default_rng(lesion), height)
    picture = draw_view(drawing, np.random.default_rng((lesion, view)), (width, height))
    repeats = (-(-size[1] // height), -(-size[0] // width), 1)
    pixels: Pixels = np.ascontiguousarray(np.tile(picture, repeats)[: size[1], : size[0]])
    pixels.flags.writeable = False
    return pixels


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """Return an image as Pillow writes it in a format."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png_of(chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG of chunks, each its kind and its data, with the right checksums."""
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
