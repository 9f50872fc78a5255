"""Calibration of a trained network on the inner fold: temperature, operating point, and when there is no answer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.training_view import ViewFile, view_files
from skinlesion.evaluation.calibration import calibration_error
from skinlesion.evaluation.decisions import UNLIKE, abstained
from skinlesion.foundation.progress import progress
from skinlesion.foundation.workers import spread
from skinlesion.network.feature_distance import LAYERS, FeatureDistance, other_camera, with_features
from skinlesion.network.litert import LiteRTModel, OneForEachThread, converted
from skinlesion.prediction.decision import DecisionRule, DistanceSource, confidence
from skinlesion.registry.model_files import DISTANCE_FILE
from skinlesion.training.divergence import require_numbers
from skinlesion.training.settings import TrainingSettings
from skinlesion.training.thresholds import fit_temperature, malignant_threshold, tempered

if TYPE_CHECKING:
    import keras

    from skinlesion.training.phases import TrainingSet

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Item = TypeVar("Item")
Result = TypeVar("Result")

SAMPLED: Final = 1000
"""Number of training originals to which distances are measured, each as it is and as another camera would show it."""

FEWEST_SAMPLED: Final = 40
"""With fewer training originals no distance is computed: every image would be unlike them."""

UNLIKE_SHARE: Final = 0.2
"""Of the images without an answer, the share that is unlike the training images. For the others confidence is too low."""

SMALLEST_PROBABILITY: Final = 1e-30
"""Smaller probabilities count as this one, so that they have a logarithm."""

LAST_LAYER: Final = "probabilities"
"""Name of the classifier's softmax layer."""

_FEATURES: Final = 2 * sum(LAYERS.values())
"""Number of features of which distances are computed."""


def calibrate(
    config: TrainingSettings, model: keras.Model, data: TrainingSet
) -> tuple[DecisionRule, FeatureDistance | None]:
    """Divide the model's logits, in place, by the temperature that fits the inner fold; return its decision rule and distance.

    The temperature is relative to the model as it is: if it was calibrated before, as at a warm start, it may be near 1. The
    distance is None if the model was trained on fewer than `FEWEST_SAMPLED` images.
    """
    network = _Network(config, model)
    originals = (data.rows["copy"] == 0).to_numpy()
    fitted = np.flatnonzero(originals & ~data.inner)
    inner = data.inner_positions
    labels = data.labels[inner]

    log_probabilities, features = network.scores(view_files(config.dataset, data.rows.iloc[inner]))
    distance, distances = _distance(network, view_files(config.dataset, data.rows.iloc[_sample(fitted)]), features)
    lacking = [label for number, label in enumerate(LABELS) if number in data.labels and number not in labels]
    temperature = 1.0 if lacking else fit_temperature(log_probabilities, labels)
    divide_logits(model, temperature)
    probabilities = tempered(log_probabilities, temperature)

    unanswered = 1 - config.coverage
    shares = np.bincount(data.labels[originals], minlength=len(LABELS)) / originals.sum()
    class_shares = (float(shares[0]), float(shares[1]), float(shares[2]))
    least, most = 0.0, None
    if len(labels):
        unsure = (1 - UNLIKE_SHARE) * unanswered
        least = float(np.quantile(confidence(probabilities, class_shares), unsure, method="lower"))
    if distances is not None:
        most = float(np.quantile(distances, 1 - UNLIKE_SHARE * unanswered, method="higher"))
    rule = DecisionRule(
        temperature=temperature,
        malignant_threshold=malignant_threshold(probabilities, labels, config.target_sensitivity),
        target_sensitivity=config.target_sensitivity,
        malignant_lesions=int(data.rows["group"].iloc[inner[labels == LABELS.index(MALIGNANT)]].nunique()),
        least_confidence=least,
        coverage=config.coverage,
        most_distance=most,
        class_shares=class_shares,
        distance=None if distance is None else DistanceSource(file=DISTANCE_FILE, layers=list(LAYERS)),
        warnings=tuple(_warnings(len(labels), lacking, distance)),
    )
    for sentence in rule.warnings:
        log.warning("%s", sentence)
    before = tempered(log_probabilities, 1.0)
    return rule.measured(_figures(rule, labels, before, probabilities, distances if len(labels) else None)), distance


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide the model's logits by the temperature, in place: the kernel and the bias of its softmax layer."""
    last = model.get_layer(LAST_LAYER)
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])


class _Network:
    """The classifier before calibration, with the features of distances, run by LiteRT on every thread."""

    def __init__(self, config: TrainingSettings, model: keras.Model) -> None:
        content = converted(with_features(model))
        self._models = OneForEachThread(lambda: LiteRTModel(content))
        self._workers = config.workers_used()

    def scores(self, files: Sequence[ViewFile]) -> tuple[Floats, Floats]:
        """Return the log-probabilities (n, 3) and the features (n, d) of n files."""
        outputs = self._spread(lambda file: self._models.get().run(file.read()), files)
        probabilities = np.array([output[0] for output in outputs], dtype=np.float64).reshape(-1, len(LABELS))
        features = np.array([output[1] for output in outputs]).reshape(-1, _FEATURES)
        require_numbers(probabilities, features)
        return np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)), features

    def features(self, files: Sequence[ViewFile]) -> tuple[Floats, Floats]:
        """Return the features (n, d) of n files, and those of the same images as another camera would show them."""

        def one(numbered: tuple[int, ViewFile]) -> list[npt.NDArray[np.float32]]:
            number, file = numbered
            image = file.read()
            shifted = other_camera(image, np.random.default_rng(number))
            return [self._models.get().run(pixels)[1] for pixels in (image, shifted)]

        both = np.array(self._spread(one, list(enumerate(files))), dtype=np.float64).reshape(-1, 2, _FEATURES)
        require_numbers(both)
        return both[:, 0], both[:, 1]

    def _spread(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        results: list[Result] = []
        with progress("calibrate", len(items)) as advance:
            for result in spread(function, items, workers=self._workers, kind="threads"):
                results.append(result)
                advance(1)
        return results


def _sample(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return at most `SAMPLED` of the positions, the same ones each time."""
    if len(positions) <= SAMPLED:
        return positions
    return np.sort(np.random.default_rng(0).choice(positions, SAMPLED, replace=False))


def _distance(
    network: _Network, files: Sequence[ViewFile], of_inner: Floats
) -> tuple[FeatureDistance | None, Floats | None]:
    """Return the distance to the training images in these files, and the distances of which its threshold is a quantile.

    Both are None if there are too few files.

    Args:
        network: the classifier.
        files: training originals.
        of_inner: features (n, d) of the inner fold, whose distances are returned. If it is empty those of the files are
            returned.
    """
    if len(files) < FEWEST_SAMPLED:
        return None, None
    originals, shifted = network.features(files)
    unseen = of_inner if len(of_inner) else originals
    distance = FeatureDistance.fit(originals, shifted, unseen)
    return distance, distance(unseen)


def _figures(
    rule: DecisionRule, labels: npt.NDArray[np.int64], before: Floats, after: Floats, distances: Floats | None
) -> dict[str, JsonValue]:
    """Return what the rule does on the inner fold, by name; only the numbers of images if the fold is empty."""
    if not len(labels):
        return {"images": 0, "malignant": 0}
    malignant = labels == LABELS.index(MALIGNANT)
    called = after[:, LABELS.index(MALIGNANT)] >= rule.malignant_threshold
    figures: dict[str, JsonValue] = {
        "images": len(labels),
        "malignant": int(malignant.sum()),
        "sensitivity": float(called[malignant].mean()) if malignant.any() else None,
        "specificity": float((~called[~malignant]).mean()) if not malignant.all() else None,
    }
    for when, probabilities in (("before", before), ("after", after)):
        error, bins = calibration_error(probabilities.argmax(axis=1) == labels, probabilities.max(axis=1))
        figures[f"ece_{when}"], figures[f"reliability_{when}"] = error, [one.model_dump() for one in bins]
    reasons = abstained(rule, after, distances)
    figures["unlike_share"] = float(reasons[UNLIKE].mean())
    figures["abstained_share"] = float(np.any([*reasons.values()], axis=0).mean())
    return figures


def _warnings(images: int, lacking: Sequence[str], distance: FeatureDistance | None) -> Iterator[str]:
    """Yield what a reader of the decision rule must know about its limits, in sentences."""
    if not images:
        yield "The inner fold is empty: the probabilities are not calibrated, malignant means P(malignant) of 0.5 or more."
    elif lacking:
        yield f"The inner fold has no image of class {' or '.join(lacking)}: the probabilities are not calibrated."
    if distance is None:
        yield f"Fewer than {FEWEST_SAMPLED} images were trained on: whether an image is unlike them is not measured."
