"""Procedural dermoscopy, so that `make run` and the tests work without a download.

The pictures follow the dermatologist's ABCD rule (Stolz et al., Eur J Dermatol 4:521, 1994): asymmetry, border, colours
and dermoscopic structures make the difference between benign and malignant. Light is absorbed as in skin: a lesion is a
density of melanin and of blood through which the skin behind it shines (Beer-Lambert), under what reflects light by
itself (scar, keratin, the blue-white veil). Hair, bubbles, rulers, vignettes, skin tone and light are drawn without
regard to the diagnosis. Nobody should draw a conclusion about skin cancer from a model trained on them.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from skinlesion.data.labels.classes import BENIGN, LABELS, MALIGNANT, UNKNOWN
from skinlesion.data.labels.diagnosis import label_of
from skinlesion.foundation.atomic import PARTIAL_SUFFIX, write_text
from skinlesion.foundation.errors import DataError

Array = NDArray[Any]
"""float32 unless said otherwise."""
Rgb = tuple[float, float, float]
"""Red, green, blue, 0..255."""

MAX_IMAGES: Final = 100_000
"""As many names as a sample may use of the million that begin with ISIC_9."""

MIN_SIDE: Final = 32
"""Pixels; below this no structure of a lesion can be seen."""

# The quota: lesion i has label LABEL_CYCLE[i % 10], dx and number of views by its own cycle. The lengths of the
# first and the last have no common divisor, so the number of views says nothing about the label.
LABEL_CYCLE: Final = (
    BENIGN, MALIGNANT, UNKNOWN, BENIGN, BENIGN, MALIGNANT, BENIGN, UNKNOWN, MALIGNANT, BENIGN,
)  # fmt: skip
DX_CYCLE: Final = {
    BENIGN: ("nv", "nv", "bkl", "nv", "df", "nv", "vasc"),
    MALIGNANT: ("mel", "bcc", "mel", "scc", "mel", "bcc", "scc"),
    UNKNOWN: ("ak", "unk", "ak"),
}
VIEW_CYCLE: Final = (1, 2, 1, 1, 3, 1, 2)

SITES: Final = (
    "back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "foot", "neck", "scalp", "hand",
)  # fmt: skip
"""Body sites in the words of HAM10000's `localization`."""

COLUMNS: Final = ("image", "dx", "lesion_id", "age", "sex", "localization")

SEED_STRIDE: Final = 4099
NAME_STEP: Final = 618_033
"""Image k of seed s is number (s * SEED_STRIDE + k) * NAME_STEP modulo a million: names of different seeds do not meet
within 4099 images and 243 seeds, and their order says nothing (618,033 and a million have no common divisor)."""

# Absorption of one unit of pigment in red, green, blue: one unit of melanin turns fair skin light brown, two dark
# brown, four black; blood takes green and blue. Chosen by eye.
MELANIN: Final = (0.33, 0.46, 0.56)
BLOOD: Final = (0.10, 0.62, 0.52)

BLUE_GREY: Final = (108.0, 112.0, 126.0)
SLATE: Final = (72.0, 72.0, 86.0)
SCAR: Final = (234.0, 206.0, 196.0)
KERATIN: Final = (240.0, 222.0, 184.0)
CYST: Final = (246.0, 226.0, 196.0)
WAX: Final = (186.0, 138.0, 88.0)
PURPLE: Final = (92.0, 36.0, 72.0)

SKIN_TONES: Final = np.array(
    [(236, 196, 184), (228, 178, 164), (218, 164, 142), (196, 142, 114), (160, 110, 86), (112, 76, 60)], np.float32
)
"""From light to dark, RGB."""

DRAW_SIDE: Final = 160
"""A lesion is drawn at no fewer pixels than this and then made smaller, to keep its fine structure from aliasing."""

NEUTRAL: Final = 200
"""The byte that stands for a factor of one where light is multiplied in bytes, which is several times faster."""

TILE: Final = 512
TILE_CELL: Final = 16
"""Side in pixels of the repeating pattern of cells, and of one cell in it."""


@dataclass(frozen=True)
class SampleReport:
    """What `write_sample` made: images and lesions in all, images of each label."""

    folder: Path
    images: int
    lesions: int
    per_label: dict[str, int]


class SampleRow(NamedTuple):
    """A row of diagnoses.csv, and where its picture comes from."""

    image: str
    dx: str
    lesion_id: str
    age: str
    sex: str
    localization: str
    lesion: int
    view: int


def write_sample(
    folder: Path,
    images: int = 240,
    seed: int = 0,
    size: tuple[int, int] = (600, 450),
    progress: Callable[[int], None] | None = None,
) -> SampleReport:
    """Write `folder/images/ISIC_9xxxxxx.jpg` and `folder/diagnoses.csv`, and give the counts.

    The files depend on `images`, `seed` and `size` only, and the first pictures of a larger sample are those of a
    smaller one. Until all are drawn they lie in a hidden folder, so a run that was killed can simply be repeated.

    Args:
        folder: made if missing; must not hold pictures or a diagnoses.csv.
        images: number of pictures, 1 to `MAX_IMAGES`.
        seed: 0 or more.
        size: width, height in pixels.
        progress: called in this thread with the number of pictures drawn so far.

    Raises:
        DataError: the folder holds data, or an argument is out of its bounds.
    """
    _refuse_bad_arguments(images, seed, size)
    _refuse_occupied(folder)
    rows = sample_rows(images, seed)
    lesions = _by_lesion(rows)
    staging = folder / f".sample{PARTIAL_SUFFIX}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            drawn = 0
            for count in pool.map(lambda views: _write_lesion(staging, views, seed, size), lesions):
                drawn += count
                if progress is not None:
                    progress(drawn)
        (folder / "images").mkdir(exist_ok=True)
        for row in rows:
            os.replace(staging / f"{row.image}.jpg", folder / "images" / f"{row.image}.jpg")
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_text(folder / "diagnoses.csv", _as_csv(rows))
    labels = [label_of(row.dx) for row in rows]
    return SampleReport(folder, images, len(lesions), {label: labels.count(label) for label in LABELS})


def sample_rows(images: int, seed: int) -> list[SampleRow]:
    """Give the rows of the sample; the rows of a smaller sample are the first of a larger one."""
    rows: list[SampleRow] = []
    for lesion, dx, views in _quota():
        rng = np.random.default_rng((seed, lesion, 0))
        lesion_id = f"IL_9{(_number(seed, lesion) + 500_000) % 1_000_000:06d}"
        older = 8 if label_of(dx) != BENIGN else 0
        age = str(int(np.clip(5 * round((rng.normal(52 + older, 15)) / 5), 5, 85)))
        person = (
            age if rng.random() > 0.04 else "",
            ("female", "male")[rng.integers(2)] if rng.random() > 0.03 else "",
            SITES[rng.integers(len(SITES))],
        )
        for view in range(views):
            if len(rows) == images:
                return rows
            rows.append(SampleRow(f"ISIC_9{_number(seed, len(rows)):06d}", dx, lesion_id, *person, lesion, view))
    raise AssertionError("unreachable: the quota does not end")


def _quota() -> Iterator[tuple[int, str, int]]:
    """Give lesion index, dx and number of views, without end."""
    seen = dict.fromkeys(LABELS, 0)
    lesion = 0
    while True:
        label = LABEL_CYCLE[lesion % len(LABEL_CYCLE)]
        cycle = DX_CYCLE[label]
        yield lesion, cycle[seen[label] % len(cycle)], VIEW_CYCLE[lesion % len(VIEW_CYCLE)]
        seen[label] += 1
        lesion += 1


def _number(seed: int, index: int) -> int:
    return (seed * SEED_STRIDE + index) * NAME_STEP % 1_000_000


def _refuse_bad_arguments(images: int, seed: int, size: tuple[int, int]) -> None:
    if not 1 <= images <= MAX_IMAGES:
        raise DataError(f"sample: expected 1 to {MAX_IMAGES} images, got {images}")
    if seed < 0:
        raise DataError(f"sample: expected a seed of 0 or more, got {seed}")
    if min(size) < MIN_SIDE:
        raise DataError(f"sample: expected a width and height of {MIN_SIDE} pixels or more, got {size[0]}x{size[1]}")


def _refuse_occupied(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"sample: expected a folder at {folder}, found a file; give another name")
    labels = folder / "diagnoses.csv"
    pictures = folder / "images"
    found = []
    if labels.exists():
        found.append(str(labels))
    if pictures.is_dir():
        visible = sum(not path.name.startswith(".") for path in pictures.iterdir())
        if visible:
            found.append(f"{visible} file{'s' if visible > 1 else ''} in {pictures}")
    elif pictures.exists():
        found.append(f"a file at {pictures}")
    if found:
        raise DataError(
            f"sample: expected {folder} to hold neither images/ with files nor a diagnoses.csv,"
            f" found {' and '.join(found)}; made-up pictures must not mix with others:"
            " name another folder, or move these away"
        )


def _by_lesion(rows: list[SampleRow]) -> list[list[SampleRow]]:
    lesions: dict[int, list[SampleRow]] = {}
    for row in rows:
        lesions.setdefault(row.lesion, []).append(row)
    return list(lesions.values())


def _as_csv(rows: list[SampleRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row[: len(COLUMNS)] for row in rows)
    return text.getvalue()


def _write_lesion(folder: Path, views: list[SampleRow], seed: int, size: tuple[int, int]) -> int:
    """Draw a lesion once and write each of its views; give their number."""
    index = views[0].lesion
    lesion = draw_lesion(views[0].dx, np.random.default_rng((seed, index, 1)), size[1])
    for row in views:
        picture = draw_view(lesion, np.random.default_rng((seed, index, 2, row.view)), size)
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, 90))
        if not done:
            raise OSError(f"OpenCV could not encode {row.image}")
        (folder / f"{row.image}.jpg").write_bytes(jpeg.tobytes())
    return len(views)


# --- The lesion -----------------------------------------------------------------------------------------------------


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
    """Draw a lesion of a diagnosis on a square of `side` pixels. Raises KeyError for a dx outside `DX_CYCLE`."""
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


class Canvas:
    """The square -1..1 that a lesion is drawn on.

    melanin, blood: float32 (side, side), densities in units of `MELANIN` and `BLOOD`. What is painted lies above them.
    Lengths are in half sides of the square; masks and covers are float32 (side, side), 0..1.
    """

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng = rng
        self.side = side
        self.x, self.y, self.radius, self.angle = _grid(side)
        self.melanin: Array = np.zeros((side, side), np.float32)
        self.blood: Array = np.zeros((side, side), np.float32)
        self._bare: Array = np.ones((side, side), np.float32)
        self._painted: Array = np.zeros((side, side, 3), np.float32)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between low and high."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Draw whether something of this probability happens."""
        return bool(self.rng.random() < probability)

    def noise(self, period: float) -> Array:
        """Give smooth noise of about unit deviation whose features are `period` wide."""
        return _smooth_noise(self.rng, self.side, self.side, round(2 / period))

    def cells(self, period: float, regular: bool) -> tuple[Array, Array, Array]:
        """Give a honeycomb with cells `period` wide: distance from the centre and from the wall in cell widths, and a
        number 0..1 that is constant within a cell."""
        cells = _sample_tile(_cell_tile(regular), self.rng, self.side, self.side, period * self.side / 2 / TILE_CELL)
        centre, wall, lot = cv2.split(cells)
        return centre, wall, lot

    def outline(self, mean: float, lobes: float, jagged: float, soft: tuple[float, float], streaks: float = 0) -> Array:
        """Give a lesion's body: 1 inside, 0 outside, falling at the border.

        mean: mean radius. lobes, jagged: amplitude of the coarse and the fine deviation from a circle, relative to it.
        soft: width of the border where it is sharpest and where it is softest. streaks: amplitude of the radial
        projections in one sector.
        """
        rng = self.rng
        angle = np.linspace(0, 2 * np.pi, 1024, endpoint=False)
        radius = 1 + self.uniform(0.02, 0.16) * np.cos(2 * (angle + self.uniform(0, np.pi)))
        for waves in range(1, 6):
            radius += lobes * rng.normal() / waves**0.8 * np.cos(waves * angle + self.uniform(0, 2 * np.pi))
        for waves in range(6, 18):
            radius += jagged * rng.normal() / 4 * np.cos(waves * angle + self.uniform(0, 2 * np.pi))
        sector = np.exp(3 * (np.cos(angle - self.uniform(0, 2 * np.pi)) - 1))
        phase = rng.integers(16, 26) * angle + 1.5 * np.sin(3 * angle) + np.sin(5 * angle)
        spikes = np.abs(np.sin(phase)) ** 2 * (0.6 + 0.4 * np.sin(7 * angle))
        radius += streaks * sector * spikes
        radius = np.clip(mean * radius, 0.12, 0.9)
        turn = 0.5 + 0.5 * np.cos(angle + self.uniform(0, 2 * np.pi))
        width = soft[0] + (soft[1] - soft[0]) * turn
        index = (self.angle * (1024 / (2 * np.pi))).astype(np.int32) & 1023
        distance = self.radius / radius.astype(np.float32)[index] - 1
        distance += (0.02 + 0.6 * lobes) * self.noise(0.35) + 1.3 * jagged * self.noise(0.09)
        return _logistic(-distance / width.astype(np.float32)[index])

    def spot(self, distance: float, radius: float, ragged: float, soft: float) -> Array:
        """Give a region 0..1 of about `radius` whose centre lies `distance` from the middle, in a random direction."""
        direction = self.uniform(0, 2 * np.pi)
        x, y = self.x - distance * np.cos(direction), self.y - distance * np.sin(direction)
        return _logistic((1 - cv2.magnitude(x, y) / radius + ragged * self.noise(0.3)) / soft)

    def paint(self, colour: Rgb, cover: Array) -> None:
        """Lay an opaque colour over what is there; cover: 0..1."""
        opaque = np.clip(cover, 0, 1)
        left = 1 - opaque
        self._bare *= left
        light = cv2.transform(opaque, np.array(colour, np.float32).reshape(3, 1))
        self._painted = np.asarray(cv2.multiply(self._painted, cv2.merge((left, left, left))) + light)

    def lines(self, paths: list[tuple[Array, float]]) -> Array:
        """Give a mask 0..1 of anti-aliased lines; each path is float (n, 2), x and y, and a thickness."""
        mask: Array = np.zeros((self.side, self.side), np.uint8)
        for points, thickness in paths:
            pixels = ((points + 1) * (self.side / 2 * 16)).astype(np.int32)
            cv2.polylines(mask, [pixels], False, 255, max(1, round(thickness * self.side / 2)), cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.5, self.side / 700))
        return soft.astype(np.float32) / 255

    def light(self) -> tuple[Array, Array]:
        """Give transmitted and reflected light as `Lesion` holds them, uint8."""
        grain = 1 + 0.09 * self.noise(0.05) + 0.07 * self.noise(0.018)
        pigment = cv2.merge((np.maximum(self.melanin * grain, 0), np.maximum(self.blood * grain, 0)))
        passed = cv2.exp(-cv2.transform(pigment, np.array([MELANIN, BLOOD], np.float32).T.copy()))
        passed = cv2.multiply(passed, cv2.merge((self._bare, self._bare, self._bare)), scale=255)
        return np.asarray(cv2.convertScaleAbs(passed)), np.asarray(cv2.convertScaleAbs(self._painted))


def _melanocytic(canvas: Canvas, atypia: float) -> None:
    """A naevus at atypia 0, a melanoma at 1: symmetry, border, colours and structures go with it."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(
        mean=uniform(0.36, 0.6) + 0.08 * atypia,
        lobes=0.015 + 0.10 * atypia**1.3,
        jagged=0.004 + 0.045 * atypia**1.5,
        soft=(0.13 - 0.10 * atypia, 0.17 - 0.06 * atypia),
        streaks=0.16 * atypia if chance(0.8 * atypia - 0.2) else 0,
    )
    pigment = uniform(0.7, 1.7) + 0.25 * atypia
    canvas.melanin += pigment * (1 + (0.10 + 0.28 * atypia) * canvas.noise(0.45) + 0.08 * canvas.noise(0.12))
    if chance(0.6):
        canvas.melanin += uniform(-0.3, 0.9) * _logistic((0.25 - canvas.radius) / 0.08)
    canvas.blood += uniform(0.05, 0.3)

    form = canvas.rng.choice(("network", "globules", "plain"), p=(0.5, 0.25, 0.25))
    if form == "network":
        _, wall, _ = canvas.cells(uniform(0.045, 0.065), regular=atypia < 0.45)
        thickness = uniform(0.11, 0.15) * (1 + atypia * np.clip(0.9 * canvas.noise(0.3), -0.3, 1.5))
        patches = 1 if atypia < 0.3 else _logistic((0.3 + canvas.noise(0.5)) / 0.25)
        canvas.melanin += patches * (uniform(0.9, 1.5) * cv2.exp(-((wall / thickness) ** 2)) - 0.25)
    elif form == "globules":
        centre, _, lot = canvas.cells(uniform(0.06, 0.09), regular=atypia < 0.45)
        canvas.melanin += uniform(0.6, 1.1) * _logistic((0.24 + 0.1 * (lot - 0.5) * (1 + atypia) - centre) / 0.04)

    for _ in range(int(canvas.rng.binomial(4, 0.06 + 0.6 * atypia))):
        blotch = canvas.spot(uniform(0.1, 0.4), uniform(0.1, 0.26), 0.45, 0.10)
        canvas.melanin += blotch * (uniform(1.0, 2.6) if chance(0.75) else -0.6 * pigment)
    if chance(1.2 * atypia):
        centre, _, lot = canvas.cells(uniform(0.05, 0.1), regular=False)
        where = canvas.spot(uniform(0.15, 0.45), uniform(0.15, 0.35), 0.4, 0.15)
        canvas.melanin += 2.5 * where * _logistic((0.32 * (lot - 0.35) / 0.65 - centre) / 0.035)
    if chance(0.9 * atypia - 0.1):
        canvas.blood += uniform(0.4, 1.0) * canvas.spot(uniform(0.2, 0.5), uniform(0.15, 0.35), 0.5, 0.2)
    canvas.melanin *= body
    canvas.blood *= body
    if chance(atypia - 0.15):
        veil = canvas.spot(uniform(0, 0.3), uniform(0.18, 0.38), 0.5, 0.3)
        canvas.paint(BLUE_GREY, uniform(0.35, 0.62) * veil * body * (0.9 + 0.2 * canvas.noise(0.12)))
    if chance(0.8 * atypia - 0.15):
        scar = canvas.spot(uniform(0.2, 0.4), uniform(0.12, 0.25), 0.5, 0.25) * body
        canvas.paint(SCAR, uniform(0.3, 0.55) * scar * (1 + 0.2 * canvas.noise(0.1)))
        centre, _, lot = canvas.cells(0.03, regular=False)
        canvas.paint(SLATE, 0.6 * scar * _logistic((0.5 * (lot - 0.6) - centre) / 0.05))


def _naevus(canvas: Canvas) -> None:
    _melanocytic(canvas, float(canvas.rng.beta(1.5, 7)))


def _melanoma(canvas: Canvas) -> None:
    _melanocytic(canvas, 0.35 + 0.65 * float(canvas.rng.beta(2.4, 1.4)))


def _indeterminate(canvas: Canvas) -> None:
    """Midway between a draw of a naevus and one of a melanoma, now and then with what belongs to neither."""
    between = (float(canvas.rng.beta(1.5, 7)) + 0.35 + 0.65 * float(canvas.rng.beta(2.4, 1.4))) / 2
    _melanocytic(canvas, between)
    if canvas.chance(0.4):
        _cysts(canvas, _logistic((0.45 - canvas.radius) / 0.05))
    if canvas.chance(0.3):
        canvas.paint(SCAR, canvas.uniform(0.2, 0.4) * canvas.spot(0.05, 0.2, 0.4, 0.2))


def _cysts(canvas: Canvas, body: Array) -> None:
    """Milia-like cysts: small, round, white to yellow, with a soft edge."""
    centre, _, lot = canvas.cells(canvas.uniform(0.1, 0.16), regular=False)
    rare = canvas.uniform(0.6, 0.85)
    canvas.paint(CYST, 0.75 * body * _logistic((0.34 * (lot - rare) / (1 - rare) - centre) / 0.05))


def _keratosis(canvas: Canvas) -> None:
    """Seborrhoeic keratosis or lentigo: sharp edge, waxy, milia-like cysts, fissures, comedo-like openings."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(uniform(0.4, 0.65), uniform(0.03, 0.08), uniform(0.008, 0.03), (0.02, 0.06))
    canvas.melanin += uniform(0.5, 2.0) * (1 + 0.22 * canvas.noise(0.25) + 0.1 * canvas.noise(0.06))
    canvas.blood += uniform(0.0, 0.25)
    if chance(0.7):
        fissures = cv2.exp(-((canvas.noise(uniform(0.14, 0.2)) / 0.22) ** 2))
        canvas.melanin += uniform(0.7, 1.4) * fissures * _logistic((canvas.noise(0.6) + 0.6) / 0.3)
    if chance(0.5):
        centre, _, lot = canvas.cells(uniform(0.12, 0.18), regular=False)
        canvas.melanin += 1.8 * _logistic((0.4 * (lot - 0.55) - centre) / 0.04)
    canvas.melanin *= body
    canvas.blood *= body
    if chance(0.6):
        canvas.paint(WAX, uniform(0.15, 0.4) * body * _logistic(canvas.noise(0.4) / 0.4))
    if chance(0.25):
        canvas.paint(BLUE_GREY, uniform(0.3, 0.5) * body * canvas.spot(uniform(0, 0.3), 0.2, 0.4, 0.35))
    if chance(0.8):
        _cysts(canvas, body)


def _dermatofibroma(canvas: Canvas) -> None:
    """Pale brown with a fine network that fades outwards, round a white scar in the middle."""
    uniform = canvas.uniform
    mean = uniform(0.32, 0.52)
    body = canvas.outline(mean, uniform(0.01, 0.05), 0.006, (0.16, 0.24))
    _, wall, _ = canvas.cells(uniform(0.045, 0.06), regular=True)
    canvas.melanin += body * (uniform(0.35, 0.9) + 0.12 * canvas.noise(0.2))
    canvas.melanin += body * uniform(0.3, 0.6) * cv2.exp(-((wall / 0.11) ** 2))
    canvas.blood += body * (uniform(0.1, 0.45) + 0.06 * canvas.noise(0.3))
    scar = canvas.spot(uniform(0, 0.06), mean * uniform(0.3, 0.6), 0.35, uniform(0.2, 0.4))
    canvas.paint(SCAR, uniform(0.35, 0.8) * scar * (0.9 + 0.15 * canvas.noise(0.1) + 0.08 * canvas.noise(0.04)))


def _vascular(canvas: Canvas) -> None:
    """Angioma or angiokeratoma: sharply bounded red to purple lacunae, sometimes black with thrombus, under a veil."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(uniform(0.28, 0.5), uniform(0.02, 0.07), 0.012, (0.03, 0.06))
    centre, wall, lot = canvas.cells(uniform(0.13, 0.24), regular=False)
    round_ = _logistic((0.34 + 0.28 * lot - centre + 0.04 * canvas.noise(0.12)) / 0.07)
    lacunae = round_ * _logistic((wall - 0.03) / 0.025)
    canvas.blood += body * (uniform(0.5, 1.2) + 0.15 * canvas.noise(0.25) + lacunae * (uniform(0.5, 1.2) + 0.8 * lot))
    canvas.melanin += body * lacunae * uniform(0.1, 0.8) * (0.6 + lot)
    canvas.paint(PURPLE, uniform(0.0, 0.6) * body * lacunae * _logistic((lot - 0.5) / 0.1))
    if chance(0.3):
        canvas.melanin += 3 * body * lacunae * canvas.spot(uniform(0, 0.2), uniform(0.1, 0.2), 0.3, 0.2)
    if chance(0.5):
        canvas.paint(SCAR, uniform(0.15, 0.4) * body * _logistic((canvas.noise(0.35) - 0.4) / 0.5))


def _basal_cell(canvas: Canvas) -> None:
    """Pink and pearly, sharply focused branching vessels, blue-grey ovoid nests, small ulcers."""
    uniform, chance, rng = canvas.uniform, canvas.chance, canvas.rng
    mean = uniform(0.45, 0.7)
    body = canvas.outline(mean, uniform(0.03, 0.09), uniform(0.01, 0.03), (0.06, 0.14))
    canvas.blood += body * (uniform(0.25, 0.7) + 0.14 * canvas.noise(0.3))
    canvas.melanin += body * np.maximum(0, uniform(-0.1, 0.5) + 0.25 * canvas.noise(0.4))
    canvas.paint(SCAR, uniform(0.15, 0.4) * body * _logistic((canvas.noise(0.4) - 0.2) / 0.35))
    if chance(0.75):
        for _ in range(int(rng.integers(2, 8))):
            where, spread = uniform(0, 0.75 * mean), uniform(0.05, 0.14)
            colour = BLUE_GREY if chance(0.6) else SLATE
            canvas.paint(colour, uniform(0.4, 0.75) * body * canvas.spot(where, spread, 0.35, 0.22))
    if chance(0.35):
        leaf = canvas.spot(uniform(0.5, 0.9) * mean, uniform(0.12, 0.2), 0.8, 0.1)
        canvas.melanin += uniform(1.0, 2.0) * leaf * body
    paths: list[tuple[Array, float]] = []
    for _ in range(int(rng.integers(2, 6))):
        start = uniform(0, 2 * np.pi)
        root = mean * uniform(0.85, 1.05) * np.array((np.cos(start), np.sin(start)))
        _grow(rng, paths, root, start + np.pi + uniform(-0.6, 0.6), mean * uniform(0.7, 1.2), uniform(0.011, 0.019))
    canvas.paint((164.0, 48.0, 56.0), uniform(0.5, 0.8) * canvas.lines(paths) * np.minimum(1, 2 * body))
    if chance(0.35):
        ulcer = canvas.spot(uniform(0, 0.5 * mean), uniform(0.06, 0.14), 0.4, 0.12)
        canvas.paint((120.0, 30.0, 28.0), 0.85 * ulcer * (1 + 0.2 * canvas.noise(0.08)))


def _grow(
    rng: np.random.Generator, paths: list[tuple[Array, float]], root: Array, heading: float, length: float, width: float
) -> None:
    """Add a winding vessel and its ever thinner branches to `paths`."""
    steps = 14
    turns = heading + np.cumsum(rng.normal(0, 0.28, steps))
    stride = np.stack((np.cos(turns), np.sin(turns)), axis=1) * (length / steps)
    points = np.vstack((root, root + np.cumsum(stride, axis=0)))
    paths.append((points, width))
    if width < 0.006:
        return
    for _ in range(int(rng.integers(2, 4))):
        at = int(rng.integers(3, steps))
        side = rng.choice((-1, 1)) * rng.uniform(0.4, 1.0)
        _grow(rng, paths, points[at], float(turns[at - 1] + side), length * rng.uniform(0.4, 0.65), width * 0.6)


def _squamous_cell(canvas: Canvas) -> None:
    """Red, with masses of white to yellow keratin, white circles, looped and coiled vessels, spots of blood."""
    uniform, chance, rng = canvas.uniform, canvas.chance, canvas.rng
    mean = uniform(0.4, 0.62)
    body = canvas.outline(mean, uniform(0.04, 0.09), uniform(0.015, 0.035), (0.05, 0.13))
    canvas.blood += body * (uniform(0.35, 0.9) + 0.15 * canvas.noise(0.25))
    canvas.melanin += body * np.maximum(0, uniform(-0.1, 0.4) + 0.2 * canvas.noise(0.4))
    paths: list[tuple[Array, float]] = []
    for _ in range(int(rng.integers(25, 60))):
        angle, distance = uniform(0, 2 * np.pi), mean * uniform(0.45, 0.98)
        centre = distance * np.array((np.cos(angle), np.sin(angle)))
        turn = np.linspace(0, uniform(3.5, 9.0), 16) + uniform(0, 2 * np.pi)
        coil = np.stack((np.cos(turn), np.sin(turn)), axis=1) * np.linspace(1, 0.35, 16)[:, None]
        paths.append((centre + uniform(0.012, 0.03) * coil * (1.0, uniform(0.5, 1.0)), 0.008))
    canvas.paint((150.0, 24.0, 36.0), 0.75 * canvas.lines(paths) * body)
    if chance(0.6):
        centre_distance, _, lot = canvas.cells(uniform(0.09, 0.13), regular=False)
        ring = cv2.exp(-(((centre_distance - 0.26) / 0.07) ** 2)) * _logistic((lot - 0.45) / 0.05)
        canvas.paint(SCAR, 0.6 * ring * body)
    mass = canvas.spot(uniform(0, 0.15), mean * uniform(0.35, 0.7), 0.5, 0.12) * body
    flakes = 0.75 + 0.2 * canvas.noise(0.12) + 0.12 * canvas.noise(0.04)
    canvas.paint(KERATIN if chance(0.6) else SCAR, uniform(0.6, 0.95) * mass * flakes)
    if chance(0.6):
        centre_distance, _, lot = canvas.cells(0.11, regular=False)
        canvas.paint((104.0, 22.0, 24.0), 0.85 * mass * _logistic((0.6 * (lot - 0.6) - centre_distance) / 0.05))


def _actinic(canvas: Canvas) -> None:
    """Actinic keratosis, the strawberry pattern: red pseudo-network round pale follicles, under white scale."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(uniform(0.42, 0.68), uniform(0.02, 0.08), uniform(0.01, 0.03), (0.14, 0.28))
    centre, _, lot = canvas.cells(uniform(0.085, 0.13), regular=False)
    follicle = _logistic((0.2 + 0.14 * lot - centre) / 0.05)
    canvas.blood += body * (uniform(0.4, 0.95) + 0.18 * canvas.noise(0.2)) * (1 - 0.75 * follicle)
    canvas.paint(KERATIN, uniform(0.35, 0.65) * body * _logistic((0.12 + 0.1 * lot - centre) / 0.04))
    if chance(0.35):
        canvas.melanin += body * uniform(0.4, 1.2) * (1 - follicle) * _logistic((canvas.noise(0.5) + 0.2) / 0.3)
    if chance(0.75):
        scale = _logistic((canvas.noise(0.22) + 0.5 * canvas.noise(0.05) - uniform(0.5, 1.1)) / 0.18)
        canvas.paint(SCAR, uniform(0.5, 0.85) * body * scale)


PATTERNS: Final[dict[str, Callable[[Canvas], None]]] = {
    "nv": _naevus,
    "bkl": _keratosis,
    "df": _dermatofibroma,
    "vasc": _vascular,
    "mel": _melanoma,
    "bcc": _basal_cell,
    "scc": _squamous_cell,
    "ak": _actinic,
    "unk": _indeterminate,
}


# --- The view -------------------------------------------------------------------------------------------------------


def draw_view(lesion: Lesion, rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """Give a photograph of the lesion: uint8 (height, width, 3), RGB. size: width, height in pixels.

    Place, angle, magnification, light, focus and everything that lies in the way are the view's own.
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
        picture = _hair(picture, rng)
    focus = rng.uniform(0, 1.1) * height / 450
    if focus > 0.35:
        picture = cv2.GaussianBlur(picture, (0, 0), focus)
    if rng.random() < 0.3:
        _bubbles(picture, rng)
    if rng.random() < 0.2:
        _ruler(picture, rng)
    picture = cv2.multiply(picture, _illumination(rng, width, height), scale=1 / NEUTRAL)
    grain = rng.integers(0, 256, (height, width), np.uint8)
    noise = cv2.convertScaleAbs(grain, alpha=rng.uniform(0.02, 0.05))
    return np.asarray(cv2.subtract(picture, cv2.merge((noise, noise, noise))))


def _skin(colour: Array, rng: np.random.Generator, width: int, height: int) -> Array:
    """Give bare skin, uint8 (height, width, 3): mottled with pigment and blood, furrowed, with pores."""
    half = (-(-width // 2), -(-height // 2))
    tan = rng.uniform(0.006, 0.016) * _smooth_noise(rng, *half, 3)
    red = rng.uniform(0.004, 0.013) * (_smooth_noise(rng, *half, 26) + 0.8 * _smooth_noise(rng, *half, 90))
    tint = np.array([(-1.0, -0.4, 1), (-1.4, -1.6, 1), (-1.7, -1.4, 1)]) * colour.reshape(3, 1)
    mottled = cv2.convertScaleAbs(cv2.transform(cv2.merge((tan, red)), tint))
    relief = _sample_tile(_skin_tile(), rng, width, height, height * rng.uniform(0.018, 0.030) / TILE_CELL)
    furrow = rng.uniform(0.2, 0.9)
    deep = np.array([(5 * furrow, -10), (7 * furrow, -16), (7 * furrow, -18)]) / 255
    gain = cv2.transform(relief, np.column_stack((deep, (NEUTRAL,) * 3)))
    return np.asarray(cv2.multiply(cv2.resize(mottled, (width, height)), gain, scale=1 / NEUTRAL))


def _illumination(rng: np.random.Generator, width: int, height: int) -> Array:
    """Give the light on each pixel, uint8 (height, width, 3), `NEUTRAL` = as painted; dark corners included."""
    rows, columns = height // 4 + 2, width // 4 + 2
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j].astype(np.float32)
    ratio = width / height
    tilt, falloff = rng.uniform(-0.07, 0.07, 2), rng.uniform(0.0, 0.16)
    radius = np.sqrt((x * ratio) ** 2 + y**2) / np.sqrt(ratio**2 + 1)
    light = 1 + tilt[0] * x + tilt[1] * y - falloff * radius**2
    if rng.random() < 0.25:
        # The round field of the lens: its diameter lies between the picture's height and its diagonal.
        edge, soft = rng.uniform(0.84, 1.0), rng.uniform(0.008, 0.03)
        light *= 0.03 + 0.97 * _logistic((edge - radius) / soft)
    tint = rng.uniform(0.88, 1.06) * rng.uniform(0.96, 1.04, 3)
    gains = (light[:, :, None] * (NEUTRAL * tint)).astype(np.float32)
    return np.asarray(cv2.convertScaleAbs(cv2.resize(gains, (width, height), interpolation=cv2.INTER_LINEAR)))


def _hair(picture: Array, rng: np.random.Generator) -> Array:
    """Give the picture with hair across it: curved, tapering, dark or fair, each with its own shade."""
    height, width = picture.shape[:2]
    mask: Array = np.zeros((height, width), np.uint8)
    direction = rng.uniform(0, np.pi)
    count = int(rng.choice((rng.integers(2, 10), rng.integers(10, 34))))
    for _ in range(count):
        angle = direction + rng.normal(0, 0.45)
        middle = rng.uniform(0, 1, 2) * (width, height)
        along = np.array((np.cos(angle), np.sin(angle)))
        across = np.array((-along[1], along[0]))
        length, bend = height * rng.uniform(0.25, 1.1), rng.normal(0, 0.12)
        t = np.linspace(-0.5, 0.5, 20)[:, None]
        points = middle + length * (t * along + (bend * (1 - 4 * t**2) + rng.normal(0, 0.08) * t**3 * 4) * across)
        thickness = max(1, round(height / 450 * rng.uniform(0.9, 3.2)))
        strength = int(rng.uniform(120, 250))
        cv2.polylines(mask, [(points * 16).astype(np.int32)], False, strength, thickness, cv2.LINE_AA, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.45, height / 800))
    dark = (48.0, 34.0, 28.0) if rng.random() < 0.75 else (206.0, 176.0, 130.0)
    strands = cv2.transform(mask, np.array(dark, np.float32).reshape(3, 1) / 255)
    left = cv2.bitwise_not(mask)
    return np.asarray(cv2.add(cv2.multiply(picture, cv2.merge((left, left, left)), scale=1 / 255), strands))


def _bubbles(picture: Array, rng: np.random.Generator) -> None:
    """Add bubbles of the contact gel: a bright rim, dark on one side, and a glint."""
    height, width = picture.shape[:2]
    groups = rng.uniform(0, 1, (int(rng.integers(1, 4)), 2)) * (width, height)
    for _ in range(int(rng.integers(2, 16))):
        x, y = groups[rng.integers(len(groups))] + rng.normal(0, height * 0.09, 2)
        radius = height * rng.uniform(0.008, 0.035)
        left, right = max(0, int(x - 1.4 * radius)), min(width, int(x + 1.4 * radius) + 2)
        top, bottom = max(0, int(y - 1.4 * radius)), min(height, int(y + 1.4 * radius) + 2)
        if left >= right or top >= bottom:
            continue
        rows, columns = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = (columns - x) / radius, (rows - y) / radius
        distance = np.sqrt(dx**2 + dy**2)
        rim = np.exp(-(((distance - 1) / 0.14) ** 2)) * (28 - 34 * (dx + dy) / np.maximum(distance, 0.3))
        glint = 120 * np.exp(-((dx + 0.4) ** 2 + (dy + 0.4) ** 2) / 0.025)
        part = picture[top:bottom, left:right]
        part[:] = np.clip(part + (rim + glint + 7 * (distance < 1))[:, :, None], 0, 255).astype(np.uint8)


def _ruler(picture: Array, rng: np.random.Generator) -> None:
    """Add a millimetre scale along one edge."""
    height, width = picture.shape[:2]
    along_bottom = rng.random() < 0.5
    length, depth = (width, height) if along_bottom else (height, width)
    step = height * rng.uniform(0.04, 0.065)
    edge = depth - height * rng.uniform(0.005, 0.05)
    for number in range(int(length / step) + 1):
        at = (number + 0.5) * step
        tip = edge - height * (0.055 if number % 5 == 0 else 0.03)
        ends = np.array(((at, edge), (at, tip)))
        pixels = (ends if along_bottom else ends[:, ::-1]) * 16
        cv2.polylines(
            picture, [pixels.astype(np.int32)], False, (38, 36, 40), max(1, round(height / 300)), cv2.LINE_AA, 4
        )


# --- Noise ----------------------------------------------------------------------------------------------------------


def _logistic(x: Array) -> Array:
    """Give 1 / (1 + exp(-x)); float32 (h, w)."""
    return np.asarray(1 / (1 + cv2.exp(np.minimum(-x, 60).astype(np.float32))))


@lru_cache(maxsize=4)
def _grid(side: int) -> tuple[Array, Array, Array, Array]:
    """Give x, y, radius and angle (0..2 pi) of each pixel of the square -1..1; each (side, side)."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    radius, angle = cv2.cartToPolar(x, y)
    for array in (x, y, radius, angle):
        array.setflags(write=False)
    return x, y, radius, angle


def _smooth_noise(rng: np.random.Generator, width: int, height: int, waves: int) -> Array:
    """Give noise (height, width) of about unit deviation with `waves` features along the height, whatever the size."""
    knots = (waves + 3, max(4, round(waves * width / height) + 3))
    coarse = 1.5 * rng.standard_normal(knots, np.float32)
    # A few knots lie outside, so that the pattern is not tied to the picture's frame.
    grown = cv2.resize(coarse, (width + width // 8, height + height // 8), interpolation=cv2.INTER_CUBIC)
    row, column = (int(rng.random() * (big - small)) for big, small in zip(grown.shape, (height, width), strict=True))
    return np.asarray(grown[row : row + height, column : column + width])


def _sample_tile(tile: Array, rng: np.random.Generator, width: int, height: int, scale: float) -> Array:
    """Give a randomly placed and turned piece (height, width, c) of an endless pattern, magnified by `scale`."""
    turn = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    place = np.array([(cos, -sin, rng.uniform(0, TILE)), (sin, cos, rng.uniform(0, TILE))])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(tile, place, (width, height), flags=flags, borderMode=cv2.BORDER_WRAP))


@lru_cache(maxsize=1)
def _skin_tile() -> Array:
    """Give the relief of skin that repeats at its edges, uint8 (TILE, TILE, 2): furrows and pores, 0..255."""
    centre, wall, lot = cv2.split(_cell_tile(False))
    furrow, pore = np.exp(-((wall / 0.2) ** 2)), np.maximum(0, 1 - centre / (0.3 * lot + 0.01)) * (lot > 0.8)
    tile = (np.stack((furrow, pore), axis=2) * 255).astype(np.uint8)
    tile.setflags(write=False)
    return tile


@lru_cache(maxsize=2)
def _cell_tile(regular: bool) -> Array:
    """Give a pattern of cells that repeats at its edges, float32 (TILE, TILE, 3).

    Channels: distance from the nearest centre and from the wall to the next cell, in cell widths, and a number 0..1 for
    each cell (Worley, A cellular texture basis function, SIGGRAPH 1996).
    """
    rng = np.random.default_rng(1996)
    count = TILE // TILE_CELL
    jitter, bend = (0.26, 0.16) if regular else (0.42, 0.30)
    rows, columns = np.mgrid[:count, :count]
    # Every other row is moved by half a cell: a honeycomb.
    x = columns + 0.5 * (rows % 2) + rng.uniform(-jitter, jitter, (count, count))
    y = rows + rng.uniform(-jitter, jitter, (count, count))
    lots = rng.random((count, count))
    py, px = np.mgrid[:TILE, :TILE] / TILE_CELL
    # Without bends the walls would be straight, as no tissue's are. Whole numbers of waves keep the pattern endless.
    for waves, size in ((5, 1.0), (11, 0.7), (23, 0.4)):
        for _ in range(3):
            along, across = rng.integers(-waves, waves + 1, 2)
            phase = 2 * np.pi * ((along * px + across * py) / count + rng.random())
            py, px = py + bend * size * 0.4 * np.sin(phase), px + bend * size * 0.4 * np.cos(phase)
    near = np.full((TILE, TILE), np.inf)
    second = near.copy()
    lot = np.zeros((TILE, TILE))
    for down in range(-2, 3):
        for right in range(-2, 3):
            row, column = np.floor(py).astype(int) + down, np.floor(px).astype(int) + right
            at = (row % count, column % count)
            distance = np.hypot(px - x[at] - (column - at[1]), py - y[at] - (row - at[0]))
            closer = distance < near
            second = np.where(closer, near, np.minimum(second, distance))
            near = np.where(closer, distance, near)
            lot = np.where(closer, lots[at], lot)
    tile = np.stack((near, (second - near) / 2, lot), axis=2).astype(np.float32)
    tile.setflags(write=False)
    return tile
