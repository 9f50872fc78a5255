"""Lesions of each diagnosis, drawn on the canvas.

The drawings follow the dermatologist's ABCD rule (Stolz et al., Eur J Dermatol 4:521, 1994): asymmetry, border, colours
and dermoscopic structures make the difference between benign and malignant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np

from skinlesion.data.sources.drawn.canvas import Canvas
from skinlesion.data.sources.drawn.noise import Array, logistic

BLUE_GREY: Final = (108.0, 112.0, 126.0)
SLATE: Final = (72.0, 72.0, 86.0)
SCAR: Final = (234.0, 206.0, 196.0)
KERATIN: Final = (240.0, 222.0, 184.0)
CYST: Final = (246.0, 226.0, 196.0)
WAX: Final = (186.0, 138.0, 88.0)
PURPLE: Final = (92.0, 36.0, 72.0)


def _melanocytic(canvas: Canvas, atypia: float) -> None:
    """A naevus at atypia 0, a melanoma at 1: asymmetry, border, colours and structures increase with it."""
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
        canvas.melanin += uniform(-0.3, 0.9) * logistic((0.25 - canvas.radius) / 0.08)
    canvas.blood += uniform(0.05, 0.3)

    form = canvas.rng.choice(("network", "globules", "plain"), p=(0.5, 0.25, 0.25))
    if form == "network":
        _, wall, _ = canvas.cells(uniform(0.045, 0.065), regular=atypia < 0.45)
        thickness = uniform(0.11, 0.15) * (1 + atypia * np.clip(0.9 * canvas.noise(0.3), -0.3, 1.5))
        patches = 1 if atypia < 0.3 else logistic((0.3 + canvas.noise(0.5)) / 0.25)
        canvas.melanin += patches * (uniform(0.9, 1.5) * cv2.exp(-((wall / thickness) ** 2)) - 0.25)
    elif form == "globules":
        centre, _, lot = canvas.cells(uniform(0.06, 0.09), regular=atypia < 0.45)
        canvas.melanin += uniform(0.6, 1.1) * logistic((0.24 + 0.1 * (lot - 0.5) * (1 + atypia) - centre) / 0.04)

    for _ in range(int(canvas.rng.binomial(4, 0.06 + 0.6 * atypia))):
        blotch = canvas.spot(uniform(0.1, 0.4), uniform(0.1, 0.26), 0.45, 0.10)
        canvas.melanin += blotch * (uniform(1.0, 2.6) if chance(0.75) else -0.6 * pigment)
    if chance(1.2 * atypia):
        centre, _, lot = canvas.cells(uniform(0.05, 0.1), regular=False)
        where = canvas.spot(uniform(0.15, 0.45), uniform(0.15, 0.35), 0.4, 0.15)
        canvas.melanin += 2.5 * where * logistic((0.32 * (lot - 0.35) / 0.65 - centre) / 0.035)
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
        canvas.paint(SLATE, 0.6 * scar * logistic((0.5 * (lot - 0.6) - centre) / 0.05))


def _naevus(canvas: Canvas) -> None:
    _melanocytic(canvas, float(canvas.rng.beta(1.5, 7)))


def _melanoma(canvas: Canvas) -> None:
    _melanocytic(canvas, 0.35 + 0.65 * float(canvas.rng.beta(2.4, 1.4)))


def _indeterminate(canvas: Canvas) -> None:
    """Midway between a naevus and a melanoma, at times with structures that belong to neither."""
    between = (float(canvas.rng.beta(1.5, 7)) + 0.35 + 0.65 * float(canvas.rng.beta(2.4, 1.4))) / 2
    _melanocytic(canvas, between)
    if canvas.chance(0.4):
        _cysts(canvas, logistic((0.45 - canvas.radius) / 0.05))
    if canvas.chance(0.3):
        canvas.paint(SCAR, canvas.uniform(0.2, 0.4) * canvas.spot(0.05, 0.2, 0.4, 0.2))


def _cysts(canvas: Canvas, body: Array) -> None:
    """Milia-like cysts: small, round, white to yellow, with a soft edge."""
    centre, _, lot = canvas.cells(canvas.uniform(0.1, 0.16), regular=False)
    rare = canvas.uniform(0.6, 0.85)
    canvas.paint(CYST, 0.75 * body * logistic((0.34 * (lot - rare) / (1 - rare) - centre) / 0.05))


def _keratosis(canvas: Canvas) -> None:
    """Seborrhoeic keratosis or lentigo: sharp edge, waxy, milia-like cysts, fissures, comedo-like openings."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(uniform(0.4, 0.65), uniform(0.03, 0.08), uniform(0.008, 0.03), (0.02, 0.06))
    canvas.melanin += uniform(0.5, 2.0) * (1 + 0.22 * canvas.noise(0.25) + 0.1 * canvas.noise(0.06))
    canvas.blood += uniform(0.0, 0.25)
    if chance(0.7):
        fissures = cv2.exp(-((canvas.noise(uniform(0.14, 0.2)) / 0.22) ** 2))
        canvas.melanin += uniform(0.7, 1.4) * fissures * logistic((canvas.noise(0.6) + 0.6) / 0.3)
    if chance(0.5):
        centre, _, lot = canvas.cells(uniform(0.12, 0.18), regular=False)
        canvas.melanin += 1.8 * logistic((0.4 * (lot - 0.55) - centre) / 0.04)
    canvas.melanin *= body
    canvas.blood *= body
    if chance(0.6):
        canvas.paint(WAX, uniform(0.15, 0.4) * body * logistic(canvas.noise(0.4) / 0.4))
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
    round_ = logistic((0.34 + 0.28 * lot - centre + 0.04 * canvas.noise(0.12)) / 0.07)
    lacunae = round_ * logistic((wall - 0.03) / 0.025)
    canvas.blood += body * (uniform(0.5, 1.2) + 0.15 * canvas.noise(0.25) + lacunae * (uniform(0.5, 1.2) + 0.8 * lot))
    canvas.melanin += body * lacunae * uniform(0.1, 0.8) * (0.6 + lot)
    canvas.paint(PURPLE, uniform(0.0, 0.6) * body * lacunae * logistic((lot - 0.5) / 0.1))
    if chance(0.3):
        canvas.melanin += 3 * body * lacunae * canvas.spot(uniform(0, 0.2), uniform(0.1, 0.2), 0.3, 0.2)
    if chance(0.5):
        canvas.paint(SCAR, uniform(0.15, 0.4) * body * logistic((canvas.noise(0.35) - 0.4) / 0.5))


def _basal_cell(canvas: Canvas) -> None:
    """Pink and pearly, sharply focused branching vessels, blue-grey ovoid nests, small ulcers."""
    uniform, chance, rng = canvas.uniform, canvas.chance, canvas.rng
    mean = uniform(0.45, 0.7)
    body = canvas.outline(mean, uniform(0.03, 0.09), uniform(0.01, 0.03), (0.06, 0.14))
    canvas.blood += body * (uniform(0.25, 0.7) + 0.14 * canvas.noise(0.3))
    canvas.melanin += body * np.maximum(0, uniform(-0.1, 0.5) + 0.25 * canvas.noise(0.4))
    canvas.paint(SCAR, uniform(0.15, 0.4) * body * logistic((canvas.noise(0.4) - 0.2) / 0.35))
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
    """Append a winding vessel and its ever thinner branches to `paths`."""
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
        ring = cv2.exp(-(((centre_distance - 0.26) / 0.07) ** 2)) * logistic((lot - 0.45) / 0.05)
        canvas.paint(SCAR, 0.6 * ring * body)
    mass = canvas.spot(uniform(0, 0.15), mean * uniform(0.35, 0.7), 0.5, 0.12) * body
    flakes = 0.75 + 0.2 * canvas.noise(0.12) + 0.12 * canvas.noise(0.04)
    canvas.paint(KERATIN if chance(0.6) else SCAR, uniform(0.6, 0.95) * mass * flakes)
    if chance(0.6):
        centre_distance, _, lot = canvas.cells(0.11, regular=False)
        canvas.paint((104.0, 22.0, 24.0), 0.85 * mass * logistic((0.6 * (lot - 0.6) - centre_distance) / 0.05))


def _actinic(canvas: Canvas) -> None:
    """Actinic keratosis, the strawberry pattern: red pseudo-network round pale follicles, under white scale."""
    uniform, chance = canvas.uniform, canvas.chance
    body = canvas.outline(uniform(0.42, 0.68), uniform(0.02, 0.08), uniform(0.01, 0.03), (0.14, 0.28))
    centre, _, lot = canvas.cells(uniform(0.085, 0.13), regular=False)
    follicle = logistic((0.2 + 0.14 * lot - centre) / 0.05)
    canvas.blood += body * (uniform(0.4, 0.95) + 0.18 * canvas.noise(0.2)) * (1 - 0.75 * follicle)
    canvas.paint(KERATIN, uniform(0.35, 0.65) * body * logistic((0.12 + 0.1 * lot - centre) / 0.04))
    if chance(0.35):
        canvas.melanin += body * uniform(0.4, 1.2) * (1 - follicle) * logistic((canvas.noise(0.5) + 0.2) / 0.3)
    if chance(0.75):
        scale = logistic((canvas.noise(0.22) + 0.5 * canvas.noise(0.05) - uniform(0.5, 1.1)) / 0.18)
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
