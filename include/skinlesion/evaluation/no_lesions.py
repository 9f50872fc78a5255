"""Pictures that show no lesion, drawn procedurally: what a classifier of lesions must not answer.

A smoke set, not a benchmark: it tells whether the abstain rule works at all (noise, blank fields, pages, patterns, scenes,
lesions in wrong colours), not how often it would be wrong on what people really send.
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
Drawing = Callable[[np.random.Generator], Pixels]

PICTURES_OF_A_KIND: Final = 10

SIDE: Final = IMAGE_SIDE


def smoke_set(images: Sequence[Pixels], each: int = PICTURES_OF_A_KIND) -> list[tuple[str, Pixels]]:
    """Give pictures that show no lesion, each with the name of its kind; always the same ones.

    images: lesions, RGB uint8 (224, 224, 3), which the kinds of `ALTERED` are made of, the first ones of each; without any
    there is no picture of these kinds. each: pictures of a kind.
    """
    drawn = [
        (kind, draw(np.random.default_rng([number, index])))
        for number, (kind, draw) in enumerate(DRAWN.items())
        for index in range(each)
    ]
    altered = [(kind, alter(image)) for kind, alter in ALTERED.items() for image in images[:each]]
    return drawn + altered


# --- Noise and plain fields -----------------------------------------------------------------------------------------


def _coloured_noise(rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def _grey_noise(rng: np.random.Generator) -> Pixels:
    return _grey(rng.normal(rng.uniform(80, 170), rng.uniform(20, 60), (SIDE, SIDE)))


def _salt_and_pepper(rng: np.random.Generator) -> Pixels:
    lots = rng.random((SIDE, SIDE))
    share = rng.uniform(0.1, 0.4)
    return _grey(np.where(lots < share, 0, np.where(lots > 1 - share, 255, rng.integers(60, 200))))


def _smooth_noise(rng: np.random.Generator) -> Pixels:
    """Blots of all colours, as out of focus as can be."""
    return _bytes(128 + 70 * np.dstack([_field(rng, rng.uniform(4, 14)) for _ in range(3)]))


def _static(rng: np.random.Generator) -> Pixels:
    """Rows of noise, as of a screen without a signal."""
    rows = rng.normal(0, 50, (SIDE, 1)) + rng.normal(0, 30, (SIDE, SIDE))
    return _grey(120 + cv2.blur(rows, (int(rng.integers(3, 15)), 1)))


def _blank(rng: np.random.Generator) -> Pixels:
    return _filled(_colour(rng))


def _blank_grey(rng: np.random.Generator) -> Pixels:
    """From black to white; a lens cap, an empty page."""
    level = (0, 255, int(rng.integers(0, 256)))[rng.integers(3)]
    return _filled((level, level, level))


def _gradient(rng: np.random.Generator) -> Pixels:
    x, y = _axes()
    angle = rng.uniform(0, 2 * np.pi)
    share = _unit(np.cos(angle) * x + np.sin(angle) * y)
    return _blend(share, _colour(rng), _colour(rng))


def _spotlight(rng: np.random.Generator) -> Pixels:
    """A round gradient about a point."""
    x, y = _axes()
    at = rng.uniform(-0.6, 0.6, 2)
    return _blend(_unit(np.hypot(x - at[0], y - at[1])), _colour(rng), _colour(rng))


# --- Pages and patterns ---------------------------------------------------------------------------------------------


def _text_page(rng: np.random.Generator) -> Pixels:
    picture = _filled(_light(rng))
    scale = float(rng.uniform(0.25, 0.6))
    step = round(34 * scale) + 2
    for baseline in range(step, SIDE, step):
        words = [_word(rng) for _ in range(12)]
        ends = SIDE if rng.random() < 0.8 else int(rng.integers(60, SIDE))
        _write(picture[:, :ends], " ".join(words), (8, baseline), scale)
    return picture


def _table(rng: np.random.Generator) -> Pixels:
    """A form of rows and columns with numbers."""
    picture = _filled(_light(rng))
    rows, columns = int(rng.integers(6, 14)), int(rng.integers(3, 7))
    height, width = SIDE // rows, SIDE // columns
    for row in range(rows):
        for column in range(columns):
            left, top = column * width, row * height
            cv2.rectangle(picture, (left, top), (left + width, top + height), (90, 90, 90), 1)
            _write(picture, str(rng.integers(10**5)), (left + 3, top + height - 4), 0.3)
    return picture


def _chart(rng: np.random.Generator) -> Pixels:
    """Axes with bars and a curve."""
    picture = _filled((255, 255, 255))
    cv2.line(picture, (20, 10), (20, 200), (0, 0, 0), 1)
    cv2.line(picture, (20, 200), (215, 200), (0, 0, 0), 1)
    bars = int(rng.integers(4, 12))
    width = 190 // bars
    for bar in range(bars):
        left = 24 + bar * width
        cv2.rectangle(picture, (left, int(rng.integers(20, 195))), (left + width - 4, 199), _colour(rng), -1)
    heights = 100 + np.cumsum(rng.normal(0, 12, 20))
    points = np.column_stack((np.linspace(24, 210, 20), np.clip(heights, 12, 195)))
    cv2.polylines(picture, [points.astype(np.int32)], False, _colour(rng), 2, cv2.LINE_AA)
    return picture


def _bar_code(rng: np.random.Generator) -> Pixels:
    widths = rng.integers(1, 8, SIDE)
    line = np.repeat(np.arange(SIDE) % 2 * 255, widths)[:SIDE]
    picture = _grey(np.tile(line, (SIDE, 1)))
    picture[: int(rng.integers(5, 40))] = 255
    picture[-int(rng.integers(15, 40)) :] = 255
    return picture


def _matrix_code(rng: np.random.Generator) -> Pixels:
    cells = int(rng.integers(21, 41))
    code = rng.integers(0, 2, (cells, cells)) * 255
    for row, column in ((0, 0), (0, cells - 7), (cells - 7, 0)):
        code[row : row + 7, column : column + 7] = 0
        code[row + 1 : row + 6, column + 1 : column + 6] = 255
        code[row + 2 : row + 5, column + 2 : column + 5] = 0
    code = np.pad(code, 3, constant_values=255).astype(np.uint8)
    return _grey(cv2.resize(code, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))


def _checkerboard(rng: np.random.Generator) -> Pixels:
    cell = int(rng.integers(6, 57))
    rows, columns = np.mgrid[:SIDE, :SIDE] // cell
    return _blend((rows + columns) % 2, _colour(rng), _colour(rng))


def _stripes(rng: np.random.Generator) -> Pixels:
    x, y = _axes()
    angle, waves = rng.uniform(0, np.pi), rng.uniform(3, 30)
    wave = np.sin(np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))
    return _blend((wave > 0) if rng.random() < 0.5 else _unit(wave), _colour(rng), _colour(rng))


def _rings(rng: np.random.Generator) -> Pixels:
    x, y = _axes()
    at = rng.uniform(-0.5, 0.5, 2)
    wave = np.sin(rng.uniform(8, 60) * np.hypot(x - at[0], y - at[1]))
    return _blend(wave > 0, _colour(rng), _colour(rng))


def _plaid(rng: np.random.Generator) -> Pixels:
    """Woven cloth."""
    threads = [np.repeat(rng.uniform(60, 240, (32, 3)), rng.integers(2, 24, 32), axis=0)[:SIDE] for _ in range(2)]
    weft, warp = (np.vstack((thread, thread, thread))[:SIDE] for thread in threads)
    over = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 2 % 2)[..., np.newaxis]
    return _bytes(np.where(over, weft[:, np.newaxis], warp[np.newaxis]))


def _shapes(rng: np.random.Generator) -> Pixels:
    """Discs, rectangles, triangles in bright colours."""
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


def _line_drawing(rng: np.random.Generator) -> Pixels:
    picture = _filled((250, 250, 250))
    for _ in range(int(rng.integers(10, 40))):
        start, end = rng.integers(0, SIDE, (2, 2)).tolist()
        if rng.random() < 0.6:
            cv2.line(picture, start, end, (20, 20, 20), int(rng.integers(1, 4)), cv2.LINE_AA)
        else:
            cv2.circle(picture, start, int(rng.integers(5, 70)), (20, 20, 20), int(rng.integers(1, 4)), cv2.LINE_AA)
    return picture


def _mosaic(rng: np.random.Generator) -> Pixels:
    """Tiles of many colours about random centres."""
    count = int(rng.integers(12, 90))
    centres = rng.uniform(-1, 1, (count, 2))
    x, y = _axes()
    nearest = np.argmin((x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2, axis=2)
    return np.asarray(rng.integers(0, 256, (count, 3), dtype=np.uint8)[nearest])


# --- Scenes ---------------------------------------------------------------------------------------------------------


def _clouds(rng: np.random.Generator) -> Pixels:
    cover = np.clip(0.5 + 0.5 * _fractal(rng, 2.2), 0, 1)
    return _blend(cover, (60, 120, 200), (245, 245, 250))


def _mountains(rng: np.random.Generator) -> Pixels:
    """Ranges one behind the other under a sky, bluer with distance."""
    _, y = _axes()
    picture = _blend(_unit(y), (90, 150, 220), (230, 225, 210)).astype(np.float32)
    ranges = int(rng.integers(2, 5))
    for number in range(ranges):
        near = (number + 1) / ranges
        skyline = -0.3 + 0.9 * near - 0.35 * _ridge(rng)
        colour = near * np.array((40, 80, 35)) + (1 - near) * np.array((120, 140, 170))
        shade = 1 + 0.25 * _fractal(rng, 1.6)
        picture = np.where((y > skyline)[..., None], colour * shade[..., None], picture)
    return _bytes(picture)


def _sea(rng: np.random.Generator) -> Pixels:
    """Waves below a horizon."""
    _, y = _axes()
    horizon = rng.uniform(-0.5, 0.2)
    depth = np.maximum(y - horizon, 1e-3)
    waves = np.sin(6 / depth + 3 * _fractal(rng, 1.8)) * np.minimum(1, 3 * depth)
    water = np.array((20, 90, 130)) + 35 * waves[..., None]
    sky = _blend(_unit(y), (120, 170, 230), (250, 220, 180))
    return _bytes(np.where((y > horizon)[..., None], water, sky))


def _foliage(rng: np.random.Generator) -> Pixels:
    """Leaves over leaves."""
    picture = _filled((15, 40, 12))
    for number in range(220):
        light = 0.3 + 0.7 * number / 220
        colour = (
            int(light * rng.uniform(40, 120)),
            int(light * rng.uniform(110, 210)),
            int(light * rng.uniform(20, 70)),
        )
        centre, axes = rng.integers(0, SIDE, 2).tolist(), (int(rng.integers(8, 26)), int(rng.integers(3, 9)))
        turn = float(rng.uniform(0, 360))
        cv2.ellipse(picture, centre, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        cv2.ellipse(picture, centre, (axes[0], 0), turn, 0, 360, (30, 70, 20), 1, cv2.LINE_AA)
    return picture


def _buildings(rng: np.random.Generator) -> Pixels:
    """Fronts with rows of windows under a sky."""
    picture = _blend(_unit(_axes()[1]), (110, 160, 225), (225, 230, 235))
    for _ in range(int(rng.integers(3, 8))):
        left, width, top = int(rng.integers(-20, SIDE)), int(rng.integers(35, 90)), int(rng.integers(10, 150))
        level = int(rng.integers(60, 200))
        cv2.rectangle(picture, (left, top), (left + width, SIDE), (level, level - 10, level - 20), -1)
        pane = int(rng.integers(5, 12))
        for row in range(top + 6, SIDE, 2 * pane):
            for column in range(left + 5, left + width - pane, 2 * pane):
                lit = (250, 225, 140) if rng.random() < 0.3 else (40, 55, 75)
                cv2.rectangle(picture, (column, row), (column + pane, row + pane), lit, -1)
    return picture


def _bricks(rng: np.random.Generator) -> Pixels:
    picture = _filled((190, 185, 175))
    height, width = int(rng.integers(12, 30)), int(rng.integers(30, 70))
    for course, top in enumerate(range(0, SIDE, height)):
        for left in range(-(width // 2) * (course % 2), SIDE, width):
            level = rng.uniform(0.75, 1.15)
            colour = (int(150 * level), int(70 * level), int(55 * level))
            cv2.rectangle(picture, (left + 1, top + 1), (left + width - 2, top + height - 2), colour, -1)
    return _bytes(picture + rng.normal(0, 8, (SIDE, SIDE, 1)))


def _night_sky(rng: np.random.Generator) -> Pixels:
    glow = np.clip(_fractal(rng, 2.0), 0, None)[..., None] * np.array((40, 25, 60))
    picture = _bytes(8 + glow)
    for _ in range(int(rng.integers(80, 300))):
        level = int(rng.integers(120, 256))
        cv2.circle(picture, rng.integers(0, SIDE, 2).tolist(), int(rng.random() < 0.1), (level, level, level), -1)
    return picture


# --- Lesions in wrong colours ---------------------------------------------------------------------------------------


def _inverted(image: Pixels) -> Pixels:
    return np.asarray(255 - image, dtype=np.uint8)


def _swapped_channels(image: Pixels) -> Pixels:
    """Red and blue changed places, as when BGR is taken for RGB."""
    return np.ascontiguousarray(image[..., ::-1])


DRAWN: Final[dict[str, Drawing]] = {
    "coloured noise": _coloured_noise,
    "grey noise": _grey_noise,
    "salt and pepper": _salt_and_pepper,
    "smooth noise": _smooth_noise,
    "static": _static,
    "blank": _blank,
    "blank grey": _blank_grey,
    "gradient": _gradient,
    "spotlight": _spotlight,
    "text page": _text_page,
    "table": _table,
    "chart": _chart,
    "bar code": _bar_code,
    "matrix code": _matrix_code,
    "checkerboard": _checkerboard,
    "stripes": _stripes,
    "rings": _rings,
    "plaid": _plaid,
    "shapes": _shapes,
    "line drawing": _line_drawing,
    "mosaic": _mosaic,
    "clouds": _clouds,
    "mountains": _mountains,
    "sea": _sea,
    "foliage": _foliage,
    "buildings": _buildings,
    "bricks": _bricks,
    "night sky": _night_sky,
}
"""Kinds that are drawn from nothing."""

ALTERED: Final[dict[str, Callable[[Pixels], Pixels]]] = {
    "inverted colours": _inverted,
    "swapped channels": _swapped_channels,
}
"""Kinds that are made of a lesion's picture."""


# --- What drawings are made of --------------------------------------------------------------------------------------


def _axes() -> tuple[Array, Array]:
    """Give x and y of each pixel, -1..1."""
    axis = np.linspace(-1, 1, SIDE)
    x, y = np.meshgrid(axis, axis)
    return x, y


def _unit(values: Array) -> Array:
    """Give the values stretched to 0..1."""
    return np.asarray((values - values.min()) / max(float(np.ptp(values)), 1e-9))


def _field(rng: np.random.Generator, waves: float) -> Array:
    """Give smooth noise of about unit deviation with so many features along a side, (SIDE, SIDE)."""
    knots = int(np.ceil(waves)) + 3
    smooth = cv2.resize(rng.standard_normal((knots, knots)), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth / max(float(smooth.std()), 1e-9))


def _fractal(rng: np.random.Generator, power: float) -> Array:
    """Give noise of unit deviation whose amplitude falls with frequency to this power, (SIDE, SIDE)."""
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / frequency**power, s=(SIDE, SIDE))
    return np.asarray(noise / noise.std())


def _ridge(rng: np.random.Generator) -> Array:
    """Give the height of a skyline at each column, of about unit deviation."""
    return np.asarray(_fractal(rng, 1.7)[0])


def _colour(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _light(rng: np.random.Generator) -> Colour:
    """Give the colour of a sheet of paper."""
    level = int(rng.integers(225, 256))
    return level, level, level - int(rng.integers(0, 20))


def _filled(colour: Colour) -> Pixels:
    return np.full((SIDE, SIDE, 3), colour, dtype=np.uint8)


def _blend(share: Array, first: Colour, second: Colour) -> Pixels:
    """Give the first colour where share is 0, the second where it is 1."""
    weight = share[..., np.newaxis].astype(np.float64)
    return _bytes((1 - weight) * np.array(first) + weight * np.array(second))


def _grey(levels: Array) -> Pixels:
    return np.repeat(_bytes(levels)[..., np.newaxis], 3, axis=2)


def _bytes(levels: Array) -> Pixels:
    return np.clip(levels, 0, 255).astype(np.uint8)


def _word(rng: np.random.Generator) -> str:
    letters = rng.integers(0, 26, rng.integers(2, 11))
    return "".join(string.ascii_lowercase[letter] for letter in letters)


def _write(picture: Pixels, text: str, at: tuple[int, int], scale: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (25, 25, 30), 1, cv2.LINE_AA)
