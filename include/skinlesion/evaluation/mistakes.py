"""The held-out images that a model is surest of and wrong about, with the regions that its answer depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.images.file import Pixels, encode_jpeg
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.gallery import Seen
from skinlesion.evaluation.scored_images import ScoredImages
from skinlesion.foundation import layout
from skinlesion.foundation.settings import Folders
from skinlesion.network import quiet_tensorflow
from skinlesion.registry.candidate import Candidate

MISTAKES_SHOWN: Final = 16
OVERLAY_QUALITY: Final = 85
"""JPEG quality; 16 overlays add less than a megabyte to the report."""


@dataclass(frozen=True)
class Mistake(Seen):
    """A held-out image whose likeliest class is wrong, and the image with Grad-CAM for that class, JPEG."""

    predicted: str
    overlay: bytes


def worst_mistakes(
    config: Folders, candidate: Candidate, rows: pd.DataFrame, scored: ScoredImages, decisions: Sequence[str]
) -> list[Mistake]:
    """Return the worst mistakes, the worst first.

    rows: of the manifest. decisions: those of the rule. Both are in the order of the scored images.
    """
    wrong = np.flatnonzero(~scored.right)
    worst = wrong[np.argsort(-scored.confidence[wrong], kind="stable")][:MISTAKES_SHOWN]
    if not len(worst):
        return []
    pictures = [file.read() for file in view_files(config.dataset, rows.iloc[worst])]
    overlays = _overlays(candidate, pictures, [LABELS[label] for label in scored.predicted[worst]])
    folder = layout.output(config.dataset)
    return [
        Mistake(
            image=rows["image"].iloc[position],
            dx=rows["dx"].iloc[position],
            truth=LABELS[scored.labels[position]],
            predicted=LABELS[scored.predicted[position]],
            probability=float(scored.confidence[position]),
            decision=decisions[position],
            jpeg=(folder / rows["file"].iloc[position]).read_bytes(),
            overlay=overlay,
        )
        for position, overlay in zip(worst, overlays, strict=True)
    ]


def _overlays(candidate: Candidate, pictures: Sequence[Pixels], labels: Sequence[str]) -> list[bytes]:
    quiet_tensorflow.load()
    from skinlesion.network.classifier import load_classifier
    from skinlesion.network.grad_cam import GradCam

    grad_cam = GradCam(load_classifier(candidate.keras))
    overlays = (grad_cam(picture, label).overlay for picture, label in zip(pictures, labels, strict=True))
    return [encode_jpeg(overlay, OVERLAY_QUALITY) for overlay in overlays]
