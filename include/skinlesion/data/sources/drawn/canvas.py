"""The square that a lesion is painted on, in densities of pigment and in opaque colours."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from skinlesion.data.sources.drawn.noise import TILE_CELL, Array, cell_tile, grid, logistic, sample_tile, smooth_noise

Rgb = tuple[float, float, float]
"""Red, green, blue, 0..255."""

MELANIN: Final = (0.33, 0.46, 0.56)
BLOOD: Final = (0.10, 0.62, 0.52)
"""Absorption of one unit of pigment in red, green and blue, chosen by eye: one unit of melanin turns fair skin light
brown, two dark brown, four black; blood absorbs green and blue."""


class Canvas:
    """The square -1..1 that a lesion is drawn on.

    melanin, blood: float32 (side, side), densities in units of `MELANIN` and `BLOOD`. What is painted covers them.
    Lengths are in half sides of the square; masks and covers are float32 (side, side), 0..1.
    """

    def __init__(self, rng: np.random.Generator, side: int) -> None:
        self.rng = rng
        self.side = side
        self.x, self.y, self.radius, self.angle = grid(side)
        self.melanin: Array = np.zeros((side, side), np.float32)
        self.blood: Array = np.zeros((side, side), np.float32)
        self._bare: Array = np.ones((side, side), np.float32)
        self._painted: Array = np.zeros((side, side, 3), np.float32)

    def uniform(self, low: float, high: float) -> float:
        """Return a random number between low and high."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < probability)

    def noise(self, period: float) -> Array:
        """Return smooth noise of about unit deviation whose features are `period` wide."""
        return smooth_noise(self.rng, self.side, self.side, round(2 / period))

    def cells(self, period: float, regular: bool) -> tuple[Array, Array, Array]:
        """Return a honeycomb with cells `period` wide: the distance from the centre and from the wall in cell widths, and a
        random number 0..1 for each cell."""
        cells = sample_tile(cell_tile(regular), self.rng, self.side, self.side, period * self.side / 2 / TILE_CELL)
        centre, wall, lot = cv2.split(cells)
        return centre, wall, lot

    def outline(self, mean: float, lobes: float, jagged: float, soft: tuple[float, float], streaks: float = 0) -> Array:
        """Return the body of a lesion: 1 inside, 0 outside, falling at the border.

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
        return logistic(-distance / width.astype(np.float32)[index])

    def spot(self, distance: float, radius: float, ragged: float, soft: float) -> Array:
        """Return a region 0..1 of about `radius` whose centre is `distance` from the middle in a random direction."""
        direction = self.uniform(0, 2 * np.pi)
        x, y = self.x - distance * np.cos(direction), self.y - distance * np.sin(direction)
        return logistic((1 - cv2.magnitude(x, y) / radius + ragged * self.noise(0.3)) / soft)

    def paint(self, colour: Rgb, cover: Array) -> None:
        """Paint an opaque colour over what is there. cover: 0..1, how much of it is hidden."""
        opaque = np.clip(cover, 0, 1)
        left = 1 - opaque
        self._bare *= left
        light = cv2.transform(opaque, np.array(colour, np.float32).reshape(3, 1))
        self._painted = np.asarray(cv2.multiply(self._painted, cv2.merge((left, left, left))) + light)

    def lines(self, paths: list[tuple[Array, float]]) -> Array:
        """Return a mask 0..1 of anti-aliased lines; each path is float (n, 2), x and y, and a thickness."""
        mask: Array = np.zeros((self.side, self.side), np.uint8)
        for points, thickness in paths:
            pixels = ((points + 1) * (self.side / 2 * 16)).astype(np.int32)
            cv2.polylines(mask, [pixels], False, 255, max(1, round(thickness * self.side / 2)), cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(mask, (0, 0), max(0.5, self.side / 700))
        return soft.astype(np.float32) / 255

    def light(self) -> tuple[Array, Array]:
        """Return the transmitted and the reflected light as `Lesion` holds them, uint8."""
        grain = 1 + 0.09 * self.noise(0.05) + 0.07 * self.noise(0.018)
        pigment = cv2.merge((np.maximum(self.melanin * grain, 0), np.maximum(self.blood * grain, 0)))
        passed = cv2.exp(-cv2.transform(pigment, np.array([MELANIN, BLOOD], np.float32).T.copy()))
        passed = cv2.multiply(passed, cv2.merge((self._bare, self._bare, self._bare)), scale=255)
        return np.asarray(cv2.convertScaleAbs(passed)), np.asarray(cv2.convertScaleAbs(self._painted))
