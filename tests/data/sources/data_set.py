"""What tests bring into a data set, and what lies in it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.stages.settings import PipelineConfig

NewConfig = Callable[..., PipelineConfig]
"""From settings, by their names, to all settings."""

Collected = Callable[..., SourceSummary]
"""From settings, by their names, to what came of collecting with them."""


@cache
def jpeg(seed: int, size: tuple[int, int] = (96, 72)) -> bytes:
    """Return the bytes of a drawn JPEG; another seed draws another picture."""
    picture = draw_view(draw_lesion("nv", np.random.default_rng(seed), 72), np.random.default_rng(seed), size)
    return cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()


def visible(folder: Path) -> dict[str, bytes]:
    """Return the content of each file that stages see below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
