"""Probabilities of images: one way from a file to the three numbers, for evaluation and for people."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.file import (
    ImageHeader,
    ImageRefused,
    Pixels,
    check_header,
    decode_checked,
    read_header,
    to_model_size,
)
from skinlesion.data.images.orientation import oriented
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.workers import spread
from skinlesion.network import quiet_tensorflow
from skinlesion.network.litert import LiteRTModel, OneForEachThread, converted
from skinlesion.prediction.decision import WITHOUT_RULE, DecisionRule, rule_beside
from skinlesion.registry import in_service

log = logging.getLogger(__name__)

Probabilities = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """What a model says of a picture.

    probabilities: float32 (3,), in `LABELS`' order, the mean over the views that its rule asks for. distance: how unlike the
    training images the picture is; None where the model does not tell. decision: one of `LABELS`; the most probable
    class where the model has no rule. reason: why, a sentence for a person.
    """

    probabilities: Probabilities
    distance: float | None
    decision: str
    reason: str


class Classifier:
    """Answers for pictures, RGB uint8 (224, 224, 3), one at a time; each thread needs one of its own."""

    def __init__(self, model: LiteRTModel, rule: DecisionRule | None) -> None:
        self._model = model
        self.rule = rule

    def __call__(self, image: Pixels) -> Answer:
        """Give the answer for a picture."""
        views = 1 if self.rule is None else self.rule.views
        outputs = [self._model.run(oriented(image, way)) for way in range(views)]
        probabilities = np.mean([output[0] for output in outputs], axis=0)
        distance = float(np.mean([output[1] for output in outputs])) if self._model.outputs > 1 else None
        if self.rule is None:
            return Answer(probabilities, distance, LABELS[int(probabilities.argmax())], WITHOUT_RULE)
        distances = None if distance is None else np.array([distance])
        return Answer(probabilities, distance, *self.rule.decide(probabilities[np.newaxis], distances)[0])


@dataclass(frozen=True)
class Prediction:
    """What a model says of a file (see `Answer`), or the reason why it was not asked."""

    file: Path
    probabilities: Probabilities | None
    refused: str = ""
    distance: float | None = None
    decision: str = ""
    reason: str = ""

    @property
    def label(self) -> str:
        """The most probable class; empty for a refused file."""
        return "" if self.probabilities is None else LABELS[int(self.probabilities.argmax())]


def classifier_of(path: Path) -> Callable[[], Classifier]:
    """Give what makes a classifier of a model file (.tflite, .h5, .keras), one for each thread.

    The decision rule that lies beside the file goes with it. Raises DataError when the file or its rule is missing or damaged.
    """
    rule = rule_beside(path)
    source: Path | bytes = path
    if path.suffix == ".tflite":
        if not path.is_file():
            raise DataError(f"{path} is missing: expected a trained classifier.")
    else:
        quiet_tensorflow.load()
        from skinlesion.network.classifier import load_classifier
        from skinlesion.network.feature_distance import FeatureDistance, with_distance

        model = load_classifier(path)
        if rule is not None and rule.distance is not None:
            model = with_distance(model, FeatureDistance.read(path.with_name(rule.distance["file"])))
        # LiteRT runs it whatever the format: several times faster than Keras one image at a time, and on every thread.
        source = converted(model)
    if rule is not None and rule.most_distance is not None and LiteRTModel(source).outputs < 2:
        raise DataError(
            f"{path} does not tell how unlike the training images a picture is, which the decision rule beside it asks for. "
            "Predict with the file that train wrote."
        )
    return lambda: Classifier(LiteRTModel(source), rule)


def model_file(models: Path) -> Path:
    """Give the file to predict with: LiteRT's of the model in service, else its .h5. Raises DataError without one.

    A model that is not what was put in service is not asked.
    """
    now = in_service.read(models)
    if now is not None and not now.is_whole():
        name = f"Version {now.version}" if now.version is not None else "The model"
        raise DataError(
            f"{name}, which is in service in {models}, was altered: its files are not what was put there. Restore it with "
            "`skinlesion models promote`, or go back with `skinlesion models rollback`."
        )
    if now is not None:
        return now.tflite if now.tflite.is_file() else now.h5
    path = layout.model_in_service(models)
    if not path.is_file():
        raise DataError(
            f"{path} is missing: expected a trained model. Train one with `skinlesion run`, or name one with --model; "
            "`skinlesion models list` shows those that are not in service."
        )
    return path


def read_for_model(path: Path, config: DataSettings) -> Pixels:
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
    return pixels_of(content, usable_header(content, max_pixels=max_pixels, min_side=min_side))


def usable_header(content: bytes, *, max_pixels: int, min_side: int) -> ImageHeader:
    """Give the header of a file that may be decoded. Raises ImageRefused."""
    header = read_header(content)
    check_header(header, max_pixels=max_pixels, min_side=min_side)
    return header


def pixels_of(content: bytes, header: ImageHeader) -> Pixels:
    """Decode a file whose header is usable; see `pixels_for_model`."""
    return to_model_size(decode_checked(content, header), header)


def predict(
    files: Iterable[Path], make_classifier: Callable[[], Classifier], config: DataSettings
) -> Iterator[Prediction]:
    """Give a prediction for each file, in order; a file that cannot be used gives its reason."""
    classifiers = OneForEachThread(make_classifier)

    def one(path: Path) -> Prediction:
        try:
            answer = classifiers.get()(read_for_model(path, config))
        except ImageRefused as refusal:
            return Prediction(path, None, str(refusal))
        return Prediction(path, answer.probabilities, "", answer.distance, answer.decision, answer.reason)

    return spread(one, files, workers=config.workers_used(), kind="threads")
