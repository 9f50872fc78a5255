"""What tests bring into a data set, and what lies in it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.data.images.pictures import drawn

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.stages.settings import PipelineConfig

NewConfig = Callable[..., PipelineConfig]
"""From settings, by their names, to all settings."""

Collected = Callable[..., SourceSummary]
"""From settings, by their names, to what came of collecting with them."""


def jpeg(seed: int) -> bytes:
    """Return the bytes of a drawn JPEG; another seed draws another picture."""
    return encode_jpeg(drawn(seed, (96, 72), dx="nv"), 95)


def visible(folder: Path) -> dict[str, bytes]:
    """Return the content of each file that stages see below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
