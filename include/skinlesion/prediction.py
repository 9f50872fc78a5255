"""Probabilities of images: one way from a file to the three numbers, for evaluation and for people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinlesion import layout, quiet_tensorflow
from skinlesion.config import PipelineConfig
from skinlesion.diagnosis import LABELS
from skinlesion.errors import DataError
from skinlesion.hidden_content import refuse_hidden_content
from skinlesion.image_file import (
    SUFFIXES,
    ImageRefused,
    Pixels,
    check_decodes,
    check_header,
    decode,
    read_header,
    to_model_size,
)
from skinlesion.in_service import candidate_in_service
from skinlesion.litert import LiteRTModel, OneForEachThread, converted
from skinlesion.workers import spread

log = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]
Classifier = Callable[[Pixels], Probabilities]
"""Gives probabilities (3,), in `LABELS`' order, of RGB uint8 (224, 224, 3)."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of a file: its probabilities, or the reason why it was not asked."""

    file: Path
    probabilities: Probabilities | None
    refused: str = ""

    @property
    def label(self) -> str:
        """The most probable class; empty for a refused file."""
        return "" if self.probabilities is None else LABELS[int(self.probabilities.argmax())]


def classifier_of(path: Path) -> Callable[[], Classifier]:
    """Give what makes a classifier of a model file (.tflite, .h5, .keras), one for each thread. Raises DataError."""
    if path.suffix == ".tflite":
        if not path.is_file():
            raise DataError(f"{path} is missing: expected a trained classifier.")
        return lambda: LiteRTModel(path)
    quiet_tensorflow.load()
    from skinlesion.model import load_classifier

    # LiteRT runs it whatever the format: several times faster than Keras one image at a time, and on every thread.
    content = converted(load_classifier(path))
    return lambda: LiteRTModel(content)


def model_file(models: Path) -> Path:
    """Give the file to predict with: LiteRT's of the model in service, else its .h5. Raises DataError without one."""
    candidate = candidate_in_service(models)
    if candidate is not None:
        return candidate.tflite
    path = layout.model_in_service(models)
    if not path.is_file():
        raise DataError(
            f"{path} is missing: expected a trained model. Train one with `skinlesion run`, or name one with --model."
        )
    return path


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Give the files named and the image files under the folders named, sorted. Raises DataError when there is none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        elif path.exists():
            found.append(path)
        else:
            raise DataError(f"{path} is missing: expected an image file or a folder of images.")
    if not found:
        raise DataError(
            f"No image file in {', '.join(map(str, paths))}: expected names ending in {', '.join(sorted(SUFFIXES))}."
        )
    return found


def read_for_model(path: Path, config: PipelineConfig) -> Pixels:
    """Read an image as the resize stage does, RGB uint8 (224, 224, 3). Raises ImageRefused."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageRefused(f"cannot be read ({error.strerror})") from None
    return pixels_for_model(content, max_pixels=config.max_image_pixels, min_side=config.min_image_side)


def pixels_for_model(content: bytes, *, max_pixels: int, min_side: int) -> Pixels:
    """Give what the model sees of an image file's content, RGB uint8 (224, 224, 3). Raises ImageRefused.

    The one way to the model, for evaluation, the command line and the server: the resize stage's own functions.
    """
    header = read_header(content)
    check_header(header, max_pixels=max_pixels, min_side=min_side)
    refuse_hidden_content(content)
    check_decodes(content, header)
    return to_model_size(decode(content, header), header)


def predict(
    files: Sequence[Path], make_classifier: Callable[[], Classifier], config: PipelineConfig
) -> Iterator[Prediction]:
    """Give a prediction for each file, in order; a file that cannot be used gives its reason."""
    classifiers = OneForEachThread(make_classifier)

    def one(path: Path) -> Prediction:
        try:
            return Prediction(path, classifiers.get()(read_for_model(path, config)))
        except ImageRefused as refusal:
            return Prediction(path, None, str(refusal))

    return spread(one, files, workers=config.workers_used(), kind="threads")
