"""Example images to try. They are drawn, so they show nobody's skin. The last has no lesion: the model should abstain."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import cv2
import numpy as np

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view


class Example(NamedTuple):
    """The file name of an example, and what it shows."""

    file: str
    title: str


EXAMPLES: Final = (
    Example("naevus.jpg", "Drawn naevus"),
    Example("melanoma.jpg", "Drawn melanoma"),
    Example("keratosis.jpg", "Drawn actinic keratosis"),
    Example("no_lesion.jpg", "No lesion: a test pattern"),
)
_DIAGNOSES: Final = {"naevus.jpg": ("nv", 3), "melanoma.jpg": ("mel", 5), "keratosis.jpg": ("ak", 2)}
_SIZE: Final = (600, 450)
_QUALITY: Final = 90


@lru_cache(maxsize=len(EXAMPLES))
def example(file: str) -> bytes:
    """Return the JPEG of an example, 600x450 pixels, always the same. Raises KeyError for any other name."""
    if file == EXAMPLES[-1].file:
        return encode_jpeg(_test_pattern(), _QUALITY)
    dx, seed = _DIAGNOSES[file]
    lesion = draw_lesion(dx, np.random.default_rng(seed), _SIZE[1])
    return encode_jpeg(draw_view(lesion, np.random.default_rng(seed), _SIZE), _QUALITY)


def _test_pattern() -> np.ndarray:
    """Return bars in the eight corners of the colour cube over a grey ramp, like a television's test pattern."""
    width, height = _SIZE
    corners = np.array([[(i >> 2 & 1), (i >> 1 & 1), (i & 1)] for i in range(8)], np.uint8) * 255
    bars = cv2.resize(corners[np.newaxis], (width, height * 3 // 4), interpolation=cv2.INTER_NEAREST)
    ramp = np.linspace(0, 255, width).astype(np.uint8)[np.newaxis, :, np.newaxis]
    return np.concatenate([bars, np.broadcast_to(ramp, (height - len(bars), width, 3))])
