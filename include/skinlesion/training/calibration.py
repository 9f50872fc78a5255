"""What is decided on the inner fold once the network is trained: temperature, thresholds, when not to answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.symmetry import laid
from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.data.training_view import ViewFile, view_files
from skinlesion.evaluation.calibration import calibration_error
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import PipelineConfig
from skinlesion.foundation.workers import spread
from skinlesion.network.feature_distance import LAYERS, FeatureDistance, other_camera, with_features
from skinlesion.network.litert import LiteRTModel, OneForEachThread, converted
from skinlesion.prediction.decision import DecisionRule, DistanceSource, confidence
from skinlesion.registry.model_files import DISTANCE_FILE
from skinlesion.training.thresholds import (
    fit_temperature,
    lower_quantile,
    malignant_threshold,
    tempered,
    upper_quantile,
)

if TYPE_CHECKING:
    import keras

    from skinlesion.training.phases import TrainingSet

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]

SAMPLED: Final = 1000
"""So many training originals say what training images look like, each as it is and as another camera would show it."""

FEWEST_SAMPLED: Final = 40
"""With fewer there is no distance: every image would be unlike them."""

UNLIKE_SHARE: Final = 0.2
"""Of the images that get no answer, those unlike the training images; the others lack confidence."""

SMALLEST_PROBABILITY: Final = 1e-30

LAST_LAYER: Final = "probabilities"

_WIDTH: Final = 2 * sum(LAYERS.values())  # of the features


def calibrate(
    config: PipelineConfig, model: keras.Model, data: TrainingSet
) -> tuple[DecisionRule, FeatureDistance | None]:
    """Divide the model's logits by the temperature that fits the inner fold, in place; give its rule and distance.

    A model that was calibrated before, as at a warm start, gets the temperature that its probabilities still lack. There is no
    distance where too few images were trained on.
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
    least = 0.0
    if len(labels):
        least = lower_quantile(confidence(probabilities, class_shares), (1 - UNLIKE_SHARE) * unanswered)
    rule = DecisionRule(
        temperature=temperature,
        views=config.prediction_views,
        malignant_threshold=malignant_threshold(probabilities, labels, config.target_sensitivity),
        target_sensitivity=config.target_sensitivity,
        least_confidence=least,
        coverage=config.coverage,
        most_distance=None if distances is None else upper_quantile(distances, UNLIKE_SHARE * unanswered),
        class_shares=class_shares,
        distance=None if distance is None else DistanceSource(file=DISTANCE_FILE, layers=list(LAYERS)),
        warnings=tuple(_warnings(len(labels), lacking, distance)),
    )
    for sentence in rule.warnings:
        log.warning("%s", sentence)
    before = tempered(log_probabilities, 1.0)
    return rule.measured(_figures(rule, labels, before, probabilities, distances if len(labels) else None)), distance


def divide_logits(model: keras.Model, temperature: float) -> None:
    """Divide what the model's last softmax is given by the temperature: its kernel and its bias."""
    last = model.get_layer(LAST_LAYER)
    last.set_weights([weights / np.float32(temperature) for weights in last.get_weights()])


class _Network:
    """The classifier as LiteRT runs it on every thread, before calibration, with the features of distances."""

    def __init__(self, config: PipelineConfig, model: keras.Model) -> None:
        content = converted(with_features(model))
        self._models = OneForEachThread(lambda: LiteRTModel(content))
        self._views = config.prediction_views
        self._workers = config.workers_used()

    def scores(self, files: Sequence[ViewFile]) -> tuple[Floats, Floats]:
        """Give log-probabilities (n, views, 3) and features (n, views, d) of n files."""

        def one(file: ViewFile) -> list[list[npt.NDArray[np.float32]]]:
            image = file.read()
            return [self._models.get().run(laid(image, way)) for way in range(self._views)]

        outputs = self._spread(one, files)
        probabilities = np.array([[view[0] for view in views] for views in outputs]).reshape(
            -1, self._views, len(LABELS)
        )
        features = np.array([[view[1] for view in views] for views in outputs]).reshape(-1, self._views, _WIDTH)
        return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST_PROBABILITY)), features

    def features(self, files: Sequence[ViewFile]) -> tuple[Floats, Floats]:
        """Give the features (n, d) of n files, and those of the same pictures as another camera would show them."""

        def one(numbered: tuple[int, ViewFile]) -> list[npt.NDArray[np.float32]]:
            number, file = numbered
            image = file.read()
            pictures = (image, other_camera(image, np.random.default_rng(number)))
            return [self._models.get().run(picture)[1] for picture in pictures]

        both = np.array(self._spread(one, list(enumerate(files))), dtype=np.float64).reshape(-1, 2, _WIDTH)
        return both[:, 0], both[:, 1]

    def _spread(self, function: Any, items: Sequence[Any]) -> list[Any]:
        results = []
        with progress("calibrate", len(items)) as advance:
            for result in spread(function, items, workers=self._workers, kind="threads"):
                results.append(result)
                advance(1)
        return results


def _sample(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give at most `SAMPLED` of the positions, the same ones each time."""
    if len(positions) <= SAMPLED:
        return positions
    return np.sort(np.random.default_rng(0).choice(positions, SAMPLED, replace=False))


def _distance(
    network: _Network, files: Sequence[ViewFile], of_inner: Floats
) -> tuple[FeatureDistance | None, Floats | None]:
    """Give the distance from the training images that lie in these files, and the distances that its threshold is for.

    of_inner: features (n, views, d) of the inner fold, whose distances these are; the files' own where it is empty. None and
    None for too few files.
    """
    if len(files) < FEWEST_SAMPLED:
        return None, None
    as_they_are, as_others = network.features(files)
    unseen = of_inner if len(of_inner) else as_they_are[:, np.newaxis]
    distance = FeatureDistance.fit(as_they_are, as_others, unseen[:, 0])
    views = [distance(unseen[:, view]) for view in range(unseen.shape[1])]
    return distance, np.asarray(np.mean(views, axis=0))


def _figures(
    rule: DecisionRule,
    labels: npt.NDArray[np.int64],
    before: Floats,
    after: Floats,
    distances: Floats | None,
) -> dict[str, Any]:
    """Give what the rule does on the inner fold, plain JSON; only the number of images where it has none."""
    if not len(labels):
        return {"images": 0, "malignant": 0}
    figures: dict[str, Any] = {"images": len(labels)}
    malignant = labels == LABELS.index(MALIGNANT)
    called = after[:, LABELS.index(MALIGNANT)] >= rule.malignant_threshold
    figures["malignant"] = int(malignant.sum())
    figures["sensitivity"] = float(called[malignant].mean()) if malignant.any() else None
    figures["specificity"] = float((~called[~malignant]).mean()) if not malignant.all() else None
    for when, probabilities in (("before", before), ("after", after)):
        error, bins = calibration_error(probabilities.argmax(axis=1) == labels, probabilities.max(axis=1))
        figures[f"ece_{when}"], figures[f"reliability_{when}"] = error, bins
    unsure = rule.confidence(after) < rule.least_confidence
    unlike = np.zeros(len(labels), dtype=np.bool_)
    if distances is not None and rule.most_distance is not None:
        unlike = distances > rule.most_distance
    figures["unlike_share"] = float(unlike.mean())
    figures["abstained_share"] = float((unsure | unlike).mean())
    return figures


def _warnings(images: int, lacking: Sequence[str], distance: FeatureDistance | None) -> Iterator[str]:
    if not images:
        yield "The inner fold is empty: the probabilities are not calibrated, malignant means P(malignant) of 0.5 or more."
    elif lacking:
        yield f"The inner fold has no image of class {' or '.join(lacking)}: the probabilities are not calibrated."
    if distance is None:
        yield f"Fewer than {FEWEST_SAMPLED} images were trained on: nothing tells whether an image is unlike them."
