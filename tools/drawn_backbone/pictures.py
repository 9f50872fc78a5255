"""The pictures that the backbone is trained on: drawn lesions and abstract ones, with labels from the drawing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from tools.drawn_backbone.textures import MEASURES, SHAPES, TEXTURES, draw_abstract

from skinlesion.data.sources.drawn.diagnoses import PATTERNS
from skinlesion.data.sources.drawn.noise import Array
from skinlesion.data.sources.drawn.picture import Lesion, draw_lesion, draw_view

DIAGNOSES: Final = tuple(sorted(PATTERNS))

GROUPS: Final = (len(DIAGNOSES), len(TEXTURES), len(TEXTURES), len(SHAPES))
"""Number of answers to each question: diagnosis of a lesion, texture of the ground, texture of the shape, shape."""

LESION_MEASURES: Final = (
    "area", "red", "green", "blue", "red_spread", "green_spread", "blue_spread", "darkest", "asymmetry", "irregularity",
    "edge", "fine_structure", "coarse_structure", "reflected", "skin_red", "skin_green", "skin_blue",
)  # fmt: skip
"""What is measured of a drawn lesion before it is photographed: asymmetry, border, colours and structures, as in the ABCD
rule of dermoscopy, and the skin's own colour."""

MEASURED: Final = len(LESION_MEASURES) + len(MEASURES)

BLOCK: Final = 500
"""Number of pictures that are drawn from one seed."""


@dataclass(frozen=True)
class Pictures:
    """Drawn pictures with their labels.

    Attributes:
        pixels: uint8 (n, side, side, 3), RGB.
        answers: int16 (n, 4), the answer to each question of `GROUPS`, -1 where it does not apply.
        measures: float32 (n, MEASURED), nan where one does not apply.
    """

    pixels: Array
    answers: Array
    measures: Array


def draw_pictures(count: int, side: int, seed: int, processes: int) -> Pictures:
    """Return `count` pictures, of which 3 of 5 show lesions. They depend on `count`, `side` and `seed` alone (their measures up to rounding)."""
    blocks = [(seed, number, side) for number in range(-(-count // BLOCK))]
    # A process that has loaded TensorFlow must not fork.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        drawn = list(pool.map(_draw_block, blocks))
    return Pictures(
        np.concatenate([block.pixels for block in drawn])[:count],
        np.concatenate([block.answers for block in drawn])[:count],
        np.concatenate([block.measures for block in drawn])[:count],
    )


def _draw_block(block: tuple[int, int, int]) -> Pictures:
    cv2.setNumThreads(1)
    seed, number, side = block
    rng = np.random.default_rng((seed, number))
    rows = list(_lesions(rng, BLOCK * 3 // 5, side)) + list(_abstracts(rng, BLOCK * 2 // 5, side))
    order = rng.permutation(len(rows))
    pixels, answers, measures = zip(*(rows[index] for index in order), strict=True)
    return Pictures(np.stack(pixels), np.array(answers, np.int16), np.stack(measures).astype(np.float32))


def _lesions(rng: np.random.Generator, count: int, side: int) -> Iterator[tuple[Array, tuple[int, ...], Array]]:
    """Yield photographs of lesions, three of each: one whole, the others nearer, up to the scale of 224 pixels."""
    nothing = np.full(len(MEASURES), np.nan)
    for _ in range(count // 3):
        number = int(rng.integers(len(DIAGNOSES)))
        lesion = draw_lesion(DIAGNOSES[number], rng, 224)
        measures = np.concatenate((_measured(lesion), nothing))
        for view in range(3):
            height = side if view == 0 else int(rng.uniform(side, max(side, 240)))
            width = int(height * rng.choice((1, 4 / 3)))
            picture = draw_view(lesion, rng, (width, height))
            if rng.random() < 0.5:  # photographs of a data set are squeezed to a square
                picture, width = cv2.resize(picture, (height, height), interpolation=cv2.INTER_AREA), height
            top, left = (int((length - side) * rng.beta(3, 3)) for length in (height, width))
            yield picture[top : top + side, left : left + side], (number, -1, -1, -1), measures


def _abstracts(rng: np.random.Generator, count: int, side: int) -> Iterator[tuple[Array, tuple[int, ...], Array]]:
    nothing = np.full(len(LESION_MEASURES), np.nan)
    for _ in range(count):
        picture, ground, shape_texture, shape, measures = draw_abstract(rng, side)
        yield picture, (-1, ground, shape_texture, shape), np.concatenate((nothing, measures))


def _measured(lesion: Lesion) -> Array:
    """Return `LESION_MEASURES` of a lesion, float64 (17,)."""
    small = 56
    skin = lesion.skin.astype(np.float32)
    shown = lesion.skin * (lesion.transmitted.astype(np.float32) / 255) + lesion.reflected
    coarse = cv2.resize(shown, (small, small), interpolation=cv2.INTER_AREA)
    depth = np.linalg.norm(coarse - skin, axis=2)
    mask = depth > 25
    if not mask.any():
        mask = depth >= depth.max()
    inside = coarse[mask]
    moments = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    turns = (cv2.getRotationMatrix2D(centre, angle, 1) for angle in (0, 30, 60, 90, 120, 150))
    turned = [_centred(cv2.warpAffine(depth, turn, (small, small)), centre) for turn in turns]
    asymmetry = min(float(np.abs(one - one[::-1]).sum() / (one.sum() + 1)) for one in turned)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    perimeter = sum(cv2.arcLength(contour, True) for contour in contours)
    grey = shown.mean(2)
    slope = cv2.magnitude(cv2.Sobel(depth, cv2.CV_32F, 1, 0), cv2.Sobel(depth, cv2.CV_32F, 0, 1))
    rim = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    blurred, more = cv2.GaussianBlur(grey, (0, 0), 2), cv2.GaussianBlur(grey, (0, 0), 8)
    everywhere = cv2.resize(mask.astype(np.uint8), grey.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    return np.array(
        (
            mask.mean(),
            *inside.mean(0) / 255,
            *inside.std(0) / 255,
            inside.mean(1).min() / 255,
            asymmetry,
            np.log(perimeter**2 / (4 * np.pi * mask.sum()) + 0.1),
            slope[rim].mean() / 255,
            np.log((grey - blurred)[everywhere].std() + 0.5),
            np.log((blurred - more)[everywhere].std() + 0.5),
            (lesion.reflected.max(2) > 20).mean(),
            *skin / 255,
        )
    )


def _centred(picture: Array, centre: tuple[float, float]) -> Array:
    """Return the picture moved so that `centre` lies in its middle."""
    height, width = picture.shape
    move = np.array([(1, 0, (width - 1) / 2 - centre[0]), (0, 1, (height - 1) / 2 - centre[1])])
    return np.asarray(cv2.warpAffine(picture, move, (width, height)))
