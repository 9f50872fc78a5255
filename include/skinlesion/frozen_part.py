"""The frozen part of the network as LiteRT runs it: a file beside the activations that it gives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from skinlesion import layout
from skinlesion.backbone import activations_key
from skinlesion.errors import DataError
from skinlesion.litert import LiteRTModel, convert_to_litert

if TYPE_CHECKING:
    import keras


def frozen_part_path(dataset: Path, weights_key: str, cut: str) -> Path:
    """Give the path of the .tflite file that maps an image to the activations of the layer `cut`."""
    return layout.features(dataset) / activations_key(weights_key, cut) / "frozen_part.tflite"


def is_usable(path: Path) -> bool:
    """Tell whether the file is there and LiteRT can run it."""
    try:
        LiteRTModel(path)
    except (OSError, DataError):
        return False
    return True


def write_frozen_part(model: keras.Model, cut: str, path: Path) -> None:
    """Write the part of the classifier from the image to the layer `cut`."""
    from skinlesion.model import frozen_part

    path.parent.mkdir(parents=True, exist_ok=True)
    convert_to_litert(frozen_part(model, cut), path)
