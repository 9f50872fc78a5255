"""From an image file to an answer: the one way for evaluation, the command line and the server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.colour import IGNORED
from skinlesion.data.images.file import (
    ImageHeader,
    ImageRefused,
    Pixels,
    check_header,
    decode_checked,
    read_header,
    to_model_size,
)
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import DataSettings
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.workers import spread
from skinlesion.network import quiet_tensorflow
from skinlesion.network.litert import LiteRTModel, OneForEachThread, converted
from skinlesion.prediction.decision import DecisionRule, rule_beside
from skinlesion.prediction.learnt import Learnt, LearntPictures
from skinlesion.registry import in_service, signature
from skinlesion.registry.model_files import LEARNT_FILE

LARGEST_FILE: Final = 1_000_000_000
"""Bytes of hashes of learnt pictures; ten million pictures have a third of it."""

log = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """A model's answer for an image.

    Attributes:
        probabilities: float32, shape (3,), in `LABELS`' order.
        distance: how unlike the training images the image is; None if the model does not measure it.
        decision: one of `group_decisions.DECISIONS`, by the decision rule.
        reason: the reason for the decision, a sentence for a person.
        learnt: whether the model learnt from this picture.
    """

    probabilities: Probabilities
    distance: float | None
    decision: str
    reason: str
    learnt: Learnt = ""

    @property
    def label(self) -> str:
        """The most probable class."""
        return LABELS[int(self.probabilities.argmax())]


class NoNumber(ImageRefused, DataError):
    """The network's answer for an image is not a number: it has no decision, and the model cannot be measured on it."""


class Classifier:
    """A model with its decision rule. Answers one image at a time; each thread needs a classifier of its own."""

    def __init__(self, model: LiteRTModel, rule: DecisionRule, learnt: LearntPictures | None = None) -> None:
        self._model = model
        self.rule = rule
        self._learnt = learnt

    def __call__(self, image: Pixels, sha256: str | None = None) -> Answer:
        """Return the answer for an image, RGB, a uint8 array of shape (224, 224, 3). Raises NoNumber.

        sha256: of its file, by which it is known whether the model learnt from it.
        """
        probabilities, *others = self._model.run(image)
        if not np.isfinite(probabilities).all():
            raise NoNumber("The model's answer for it is not a number. Train the model again, or use another version.")
        distance = float(others[0].item()) if others else None
        distances = None if distance is None else np.array([distance])
        decision = self.rule.decide(probabilities[np.newaxis], distances)[0]
        learnt: Learnt = ""
        if self._learnt is not None and sha256 is not None:
            learnt = self._learnt.of_picture(sha256, image)
        return Answer(probabilities, distance, *decision, learnt)


@dataclass(frozen=True)
class Prediction:
    """The answer for an image file, or the reason why the file was refused."""

    file: Path
    answer: Answer | None
    refused: str = ""


def classifier_of(path: Path) -> Callable[[], Classifier]:
    """Return a function that makes a classifier from a model file (.tflite, .h5, .keras) and the decision rule beside it.

    Raises DataError if the file or the rule is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: expected a trained classifier.")
    rule = rule_beside(path)
    source: Path | bytes = path
    if path.suffix != ".tflite":
        quiet_tensorflow.load()
        from skinlesion.network.classifier import load_classifier
        from skinlesion.network.feature_distance import FeatureDistance, with_distance

        model = load_classifier(path)
        if rule.distance is not None:
            model = with_distance(model, FeatureDistance.read(path.with_name(rule.distance.file)))
        # LiteRT runs every format: for single images it is several times faster than Keras, and it runs on every thread.
        source = converted(model)
    if rule.most_distance is not None and LiteRTModel(source).outputs < 2:
        raise DataError(
            f"{path} does not measure how unlike the training images an image is, which the decision rule beside it asks for. "
            "Predict with the file that train wrote."
        )
    hashes = path.with_name(LEARNT_FILE)
    learnt = LearntPictures.read(read_file(hashes, most=LARGEST_FILE), str(hashes)) if hashes.is_file() else None
    return lambda: Classifier(LiteRTModel(source), rule, learnt)


def model_file(models: Path) -> Path:
    """Return the LiteRT file of the model in service. Raises DataError if there is none, or a file is missing or altered."""
    now = in_service.read(models)
    if now is None:
        raise DataError(
            f"No model is in service in {models}: expected a trained model. Train one with `skinlesion run`, or name one with "
            "--model; `skinlesion models list` shows those that are not in service."
        )
    now.require_whole()
    signature.require(now.folder / signature.SIGNATURE, now.sha256, now.version)
    return now.tflite


def read_for_model(path: Path, config: DataSettings) -> tuple[Pixels, str]:
    """Return the image in a file as the model sees it, see `pixels_for_model`, and the file's SHA-256. Raises ImageRefused."""
    try:
        content = read_file(path, most=config.largest_file)
    except OSError as error:
        if path.is_dir():
            raise ImageRefused("a folder that may not be listed, or a link to one that is searched elsewhere") from None
        raise ImageRefused(reason_of(error)) from None
    header = usable_header(content, max_pixels=config.max_image_pixels, min_side=config.min_image_side)
    if IGNORED in header.format:
        log.warning("%r: %s", str(path), header.format.partition(", ")[2])
    return pixels_of(content, header), sha256_of(content)


def pixels_for_model(content: bytes, *, max_pixels: int, min_side: int) -> Pixels:
    """Return what the model sees of an image file's content, RGB, a uint8 array of shape (224, 224, 3).

    These are the resize stage's own functions. Raises ImageRefused.
    """
    return pixels_of(content, usable_header(content, max_pixels=max_pixels, min_side=min_side))


def usable_header(content: bytes, *, max_pixels: int, min_side: int) -> ImageHeader:
    """Return the header of a file that may be decoded. Raises ImageRefused."""
    header = read_header(content)
    check_header(header, max_pixels=max_pixels, min_side=min_side)
    return header


def pixels_of(content: bytes, header: ImageHeader) -> Pixels:
    """Return the decoded pixels of a file whose header is usable; see `pixels_for_model`."""
    return to_model_size(decode_checked(content, header), header)


def predict(
    files: Iterable[Path], make_classifier: Callable[[], Classifier], config: DataSettings
) -> Iterator[Prediction]:
    """Yield a prediction for each file, in order; that of a file that cannot be used has the reason."""
    classifiers = OneForEachThread(make_classifier)

    def one(path: Path) -> Prediction:
        try:
            return Prediction(path, classifiers.get()(*read_for_model(path, config)))
        except ImageRefused as refusal:
            return Prediction(path, None, str(refusal))

    return spread(one, files, workers=config.workers_used(), kind="threads")
