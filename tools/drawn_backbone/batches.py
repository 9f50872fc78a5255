"""Batches of drawn pictures: pieces and small copies of them, turned and mirrored, with targets to match."""

from __future__ import annotations

from typing import Any, Final

import cv2
import keras
import numpy as np
from tools.drawn_backbone.pictures import GROUPS, LESION_MEASURES, MEASURED, Pictures
from tools.drawn_backbone.textures import MEASURES

from skinlesion.data.sources.drawn.noise import Array

ANSWERS: Final = sum(GROUPS)
"""Number of answers to all questions together."""


def _columns(ending: str) -> list[int]:
    return [len(LESION_MEASURES) + MEASURES.index(f"{part}_{ending}") for part in ("ground", "shape")]


COSINES: Final = _columns("cos")
SINES: Final = _columns("sin")
PERIODS: Final = _columns("period")


class Batches:
    """Draws batches: pictures, float32 (n, side, side, 3) in -1..1, and targets, float32 (n, ANSWERS + 2 * MEASURED).

    A target is a one-hot answer to each question (all zero where it does not apply), the standardised measures, and for
    each measure 1 where it applies, else 0.
    """

    def __init__(self, pictures: Pictures, side: int, size: int, rng: np.random.Generator) -> None:
        self.pictures, self.side, self.size, self.rng = pictures, side, size, rng
        self.mean, self.spread = np.nanmean(pictures.measures, 0), np.nanstd(pictures.measures, 0) + 1e-6
        self.mean[COSINES + SINES] = 0

    def draw(self) -> tuple[Array, Array]:
        """Return a batch of pictures drawn at random, and their targets."""
        rows = self.rng.integers(0, len(self.pictures.pixels), self.size)
        measures = self.pictures.measures[rows].copy()
        pixels = np.stack(
            [self._seen(self.pictures.pixels[row], measure) for row, measure in zip(rows, measures, strict=True)]
        )
        return pixels.astype(np.float32) / 127.5 - 1, self._targets(self.pictures.answers[rows], measures)

    def _seen(self, picture: Array, measures: Array) -> Array:
        """Return a piece of the picture or all of it made smaller, turned and mirrored; `measures` change with it."""
        whole = picture.shape[0]
        if self.rng.random() < 0.5:
            picture = cv2.resize(picture, (self.side, self.side), interpolation=cv2.INTER_AREA)
            measures[PERIODS] += np.log(self.side / whole)
        else:
            top, left = self.rng.integers(0, whole - self.side + 1, 2)
            picture = picture[top : top + self.side, left : left + self.side]
        if self.rng.random() < 0.5:
            picture = picture[:, ::-1]
            measures[SINES] *= -1
        if self.rng.random() < 0.5:
            picture = picture[::-1]
            measures[SINES] *= -1
        if self.rng.random() < 0.5:
            picture = picture.transpose(1, 0, 2)
            measures[COSINES] *= -1
        return picture

    def _targets(self, answers: Array, measures: Array) -> Array:
        one_hot = [
            np.eye(count + 1, dtype=np.float32)[question][:, :count]  # -1 takes the last row, which is cut off
            for question, count in zip(answers.T, GROUPS, strict=True)
        ]
        applies = np.isfinite(measures)
        standardised = np.where(applies, (measures - self.mean) / self.spread, 0)
        return np.concatenate((*one_hot, standardised, applies), axis=1).astype(np.float32)


def loss(target: Any, answer: Any) -> Any:
    """Return the loss of each picture: cross entropy of each question plus the mean squared error of the measures."""
    ops = keras.ops
    total, start = 0.0, 0
    for count in GROUPS:
        truth, logits = target[:, start : start + count], answer[:, start : start + count]
        total -= ops.sum(truth * ops.log_softmax(logits), axis=1)
        start += count
    measures, applies = target[:, start : start + MEASURED], target[:, start + MEASURED :]
    wrong = ops.sum(applies * ops.square(measures - answer[:, start:]), axis=1)
    return total + 4 * wrong / ops.maximum(ops.sum(applies, axis=1), 1)
