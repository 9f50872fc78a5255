"""The frozen part of the network as LiteRT runs it: a file beside the activations that it computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.network.backbone import activations_key
from skinlesion.network.litert import converted

if TYPE_CHECKING:
    import keras


def frozen_part_path(dataset: Path, weights_key: str, cut: str, orientations: int) -> Path:
    """Return the path of the .tflite file that maps an image to the activations of the layer `cut`."""
    return layout.features(dataset) / activations_key(weights_key, cut, orientations) / "frozen_part.tflite"


def is_whole(path: Path) -> bool:
    """Return whether the file exists and has the SHA-256 that was written beside it."""
    try:
        return sha256_of(path) == _digest_path(path).read_text()
    except (OSError, ValueError):
        return False


def write_frozen_part(model: keras.Model, cut: str, path: Path) -> None:
    """Write the part of the classifier from the image to the layer `cut`, then its SHA-256 beside it."""
    from skinlesion.network.classifier import frozen_part

    content = converted(frozen_part(model, cut))
    atomic.write_bytes(path, content)
    atomic.write_text(_digest_path(path), sha256_of(content))


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
