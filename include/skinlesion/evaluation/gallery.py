"""The held-out images as small pictures, to look through in the report by diagnosis, decision, error and confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.scored_images import ScoredImages

SIDE: Final = 112
"""Pixels of a small picture."""
QUALITY: Final = 72
MOST_WITHIN: Final = 8_000_000
"""Bytes of small pictures that the report holds itself, so that it stays below 15 MB; more are in a file beside it."""

CONFIDENCES: Final = (0.5, 0.7, 0.9)
"""Where the likeliest class's probability divides the pictures."""

ERRORS: Final = {
    "missed": "malignant, called benign",
    "alarm": "not malignant, called malignant",
    "right": "neither of these",
}


@dataclass(frozen=True)
class Seen:
    """A held-out image: what it shows, what is said of it, how sure the model is, and the small picture as JPEG."""

    image: str
    dx: str
    truth: str
    decision: str
    probability: float
    jpeg: bytes

    @property
    def error(self) -> str:
        """Which of `ERRORS` it is."""
        if self.truth == MALIGNANT:
            return "missed" if self.decision == LABELS[0] else "right"
        return "alarm" if self.decision == MALIGNANT else "right"

    @property
    def band(self) -> int:
        """The number of its band of confidence, 0 for the lowest."""
        return sum(self.probability >= least for least in CONFIDENCES)


def gallery(dataset: Path, rows: pd.DataFrame, scored: ScoredImages, decisions: Sequence[str]) -> list[Seen]:
    """Return the held-out images, by diagnosis and name. rows of the manifest and decisions are in the order of the images."""
    seen = []
    for at, file in enumerate(view_files(dataset, rows)):
        small = cv2.resize(file.read(), (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        seen.append(
            Seen(
                image=str(rows["image"].iloc[at]),
                dx=str(rows["dx"].iloc[at]),
                truth=LABELS[scored.labels[at]],
                decision=decisions[at],
                probability=float(scored.confidence[at]),
                jpeg=encode_jpeg(small, QUALITY),
            )
        )
    return sorted(seen, key=lambda one: (one.dx, one.image))


def is_beside(seen: Sequence[Seen]) -> bool:
    """Return whether the pictures are too many for the report itself."""
    return sum(len(one.jpeg) for one in seen) > MOST_WITHIN
