"""The frozen part of the network as LiteRT runs it: a file beside the activations that it computes."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.regular_file import read_file, set_aside
from skinlesion.network.litert import converted

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

NAME: Final = "frozen_part.tflite"

_LONGEST_DIGEST: Final = 1000


def is_whole(path: Path) -> bool:
    """Return whether the file exists and has the SHA-256 that was written beside it."""
    try:
        if sha256_of(path) == read_file(_digest_path(path), most=_LONGEST_DIGEST).decode():
            return True
        raise ValueError(f"{_digest_path(path).name} has the SHA-256 of another file")
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        log.warning("%s is damaged (%s) and is written anew", path, error)
        return False


def write_frozen_part(model: keras.Model, cut: str, path: Path) -> None:
    """Write the part of the classifier from the image to the layer `cut`, then its SHA-256 beside it."""
    from skinlesion.network.classifier import frozen_part

    content = converted(frozen_part(model, cut))
    for file in (path, _digest_path(path)):
        set_aside(file)
    atomic.write_bytes(path, content)
    atomic.write_text(_digest_path(path), sha256_of(content))


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")
