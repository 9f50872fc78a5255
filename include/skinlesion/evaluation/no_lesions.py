"""Pictures that show no lesion, drawn procedurally: a classifier of lesions must answer `unknown` to them.

This is a smoke test, not a benchmark: it shows whether the rule that withholds answers works at all, not how often it would
be wrong on what people really send.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from skinlesion.data.settings import IMAGE_SIDE

Pixels = NDArray[np.uint8]
"""RGB, (IMAGE_SIDE, IMAGE_SIDE, 3)."""
Array = NDArray[Any]
Colour = tuple[int, int, int]

PICTURES_OF_A_KIND: Final = 10

SIDE: Final = IMAGE_SIDE


def smoke_set(images: Sequence[Pixels], each: int = PICTURES_OF_A_KIND) -> list[tuple[str, Pixels]]:
    """Return pictures that show no lesion, each with the name of its kind; they are the same in every run.

    images: lesions, RGB uint8 (224, 224, 3), from which the kinds of `ALTERED` are made, from the first `each` of them;
    without any there is no picture of these kinds. each: number of pictures of a kind.
    """
    drawn = [
        (kind, draw(np.random.default_rng([*kind.encode(), index])))
        for kind, draw in DRAWN.items()
        for index in range(each)
    ]
    altered = [(kind, alter(image)) for kind, alter in ALTERED.items() for image in images[:each]]
    return drawn + altered


def _coloured_noise(rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def _smooth_noise(rng: np.random.Generator) -> Pixels:
    """Return blots of all colours, far out of focus."""
    return _bytes(128 + 70 * np.dstack([_field(rng, rng.uniform(4, 14)) for _ in range(3)]))


def _blank(rng: np.random.Generator) -> Pixels:
    return _filled(_colour(rng))


def _spotlight(rng: np.random.Generator) -> Pixels:
    """Return a round gradient about a point."""
    x, y = _axes()
    at = rng.uniform(-0.6, 0.6, 2)
    return _blend(_unit(np.hypot(x - at[0], y - at[1])), _colour(rng), _colour(rng))


def _text_page(rng: np.random.Generator) -> Pixels:
    paper = int(rng.integers(225, 256))
    picture = _filled((paper, paper, paper - int(rng.integers(0, 20))))
    scale = float(rng.uniform(0.25, 0.6))
    step = round(34 * scale) + 2
    for baseline in range(step, SIDE, step):
        words = [_word(rng) for _ in range(12)]
        ends = SIDE if rng.random() < 0.8 else int(rng.integers(60, SIDE))
        line, place = picture[:, :ends], (8, baseline)
        cv2.putText(line, " ".join(words), place, cv2.FONT_HERSHEY_SIMPLEX, scale, (25, 25, 30), 1, cv2.LINE_AA)
    return picture


def _word(rng: np.random.Generator) -> str:
    letters = rng.integers(0, 26, rng.integers(2, 11))
    return "".join(string.ascii_lowercase[letter] for letter in letters)


def _stripes(rng: np.random.Generator) -> Pixels:
    x, y = _axes()
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 30)
    wave = np.sin(np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))
    return _blend((wave > 0) if rng.random() < 0.5 else _unit(wave), _colour(rng), _colour(rng))


def _shapes(rng: np.random.Generator) -> Pixels:
    """Return discs, rectangles and triangles of many colours."""
    picture = _filled(_colour(rng))
    for _ in range(int(rng.integers(4, 15))):
        corners = rng.integers(0, SIDE, (3, 2)).astype(np.int32)
        form = rng.integers(3)
        if form == 0:
            cv2.circle(picture, corners[0].tolist(), int(rng.integers(8, 60)), _colour(rng), -1, cv2.LINE_AA)
        elif form == 1:
            cv2.rectangle(picture, corners[0].tolist(), corners[1].tolist(), _colour(rng), -1)
        else:
            cv2.fillPoly(picture, [corners], _colour(rng), cv2.LINE_AA)
    return picture


def _inverted(image: Pixels) -> Pixels:
    return np.asarray(255 - image, dtype=np.uint8)


def _swapped_channels(image: Pixels) -> Pixels:
    """Return the image with red and blue swapped, as when BGR is taken for RGB."""
    return np.ascontiguousarray(image[..., ::-1])


DRAWN: Final[dict[str, Callable[[np.random.Generator], Pixels]]] = {
    "coloured noise": _coloured_noise,
    "smooth noise": _smooth_noise,
    "blank": _blank,
    "spotlight": _spotlight,
    "text page": _text_page,
    "stripes": _stripes,
    "shapes": _shapes,
}
"""Kinds that are drawn from nothing."""

ALTERED: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    "inverted colours": _inverted,
    "swapped channels": _swapped_channels,
}
"""Kinds that are made from the image of a lesion."""


def _axes() -> tuple[Array, Array]:
    """Return x and y of each pixel, -1..1."""
    axis = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _unit(values: Array) -> Array:
    """Return the values stretched to 0..1."""
    return np.asarray((values - values.min()) / max(float(np.ptp(values)), 1e-9))


def _field(rng: np.random.Generator, waves: float) -> Array:
    """Return smooth noise of about unit deviation with `waves` features along a side, (SIDE, SIDE)."""
    knots = int(np.ceil(waves)) + 3
    smooth = cv2.resize(rng.standard_normal((knots, knots)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(smooth.std()), 1e-9))


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _filled(colour: Colour) -> Pixels:
    return np.full((SIDE, SIDE, 3), colour, dtype=np.uint8)


def _blend(share: Array, first: Colour, second: Colour) -> Pixels:
    """Return the first colour where `share` is 0, the second where it is 1."""
    weight = share[..., np.newaxis].astype(np.float64)
    return _bytes((1 - weight) * np.array(first) + weight * np.array(second))


def _bytes(levels: Array) -> Pixels:
    return np.clip(levels, 0, 255).astype(np.uint8)
