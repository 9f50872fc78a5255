"""Performance in use: estimated without labels from calibrated probabilities, and measured where diagnoses have come in.

The estimate is what the figures would be if each image had each class with its probability (confidence-based performance
estimation). The probabilities are calibrated on the held-out images first, and what the estimate is off by on those is taken off.
Its interval has the chance of the labels and of the calibration in it. It holds while the calibration holds, which nobody can
see without labels: so it widens with the distance of the pictures from the held-out ones, up to everything from chance to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from scipy.stats import rankdata

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.evaluation.in_use.record import PERFORMANCE
from skinlesion.evaluation.in_use.reference import Reference, Seen
from skinlesion.evaluation.metrics import fewest_lesions, intervals
from skinlesion.evaluation.scored_images import Floats, Ints, ScoredImages
from skinlesion.registry.figure import Figure

DRAWS: Final = 200
"""Draws of labels; each has a calibration of its own among `CALIBRATIONS`."""

CALIBRATIONS: Final = 20

CHANCE: Final = {"malignant_auroc": 0.5, "balanced_accuracy": 1 / 3, "sensitivity": 0.0}
"""What the figures are at least when nothing is known."""

_M: Final = LABELS.index(MALIGNANT)
_AT_ONCE: Final = 4_000_000
_DRAWN_IMAGES: Final = 80_000  # of many images the labels' chance is small, and the calibration's is drawn all the same
_SMALLEST: Final = 1e-6
_RIDGE: Final = 1.0


def figures_of(labels: Ints, probabilities: Floats, threshold: float) -> dict[str, npt.NDArray[np.float64]]:
    """Return the figures for b assignments of classes to n images, b of each; NaN where a class that is needed is missing.

    labels: (b, n). probabilities: (n, 3).
    """
    scores = probabilities[:, _M]
    malignant = labels == _M
    positives, total = malignant.sum(axis=1), labels.shape[1]
    ranks = rankdata(scores)  # images of equal scores share their mean rank
    predicted = probabilities.argmax(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wins = malignant @ ranks - positives * (positives + 1) / 2
        recalls = [
            ((labels == k) @ (predicted == k).astype(np.float64)) / (labels == k).sum(axis=1)
            for k in range(len(LABELS))
        ]
        return {
            "malignant_auroc": wins / (positives * (total - positives)),
            "balanced_accuracy": np.nanmean(np.array(recalls), axis=0),
            "sensitivity": (malignant @ (scores >= threshold).astype(np.float64)) / positives,
        }


@dataclass(frozen=True)
class Calibration:
    """Multinomial logistic regression of the class on the logarithms of the probabilities, close to leaving them as they are.

    weights: (4, 3), the last row is the bias.
    """

    weights: Floats

    @classmethod
    def fit(cls, probabilities: Floats, labels: Ints) -> Calibration:
        """Return the calibration of images with known classes; it is drawn towards no change."""
        features, classes = _features(probabilities), np.eye(len(LABELS))[labels]
        start = np.eye(len(LABELS) + 1, len(LABELS))

        def loss(flat: Floats) -> tuple[float, Floats]:
            change = flat.reshape(start.shape) - start
            logs = log_softmax(features @ (start + change), axis=1)
            value = _RIDGE * (change**2).sum() / 2 - (classes * logs).sum()
            return float(value), (features.T @ (np.exp(logs) - classes) + _RIDGE * change).ravel()

        found = minimize(loss, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-6})
        return cls(found.x.reshape(start.shape))

    def __call__(self, probabilities: Floats) -> Floats:
        """Return calibrated probabilities (n, 3)."""
        return np.asarray(softmax(_features(probabilities) @ self.weights, axis=1))


def _features(probabilities: Floats) -> Floats:
    logs = np.log(np.maximum(probabilities, _SMALLEST))
    return np.column_stack([logs, np.ones(len(logs))])


class Estimator:
    """Estimates what the figures are on images without labels, of one version."""

    def __init__(self, reference: Reference) -> None:
        self._threshold = reference.rule.malignant_threshold
        self._random = np.random.default_rng(0)
        labels, probabilities = reference.labels, reference.seen.probabilities
        self.measured = {
            name: float(values[0])
            for name, values in figures_of(labels[np.newaxis], probabilities, self._threshold).items()
        }
        groups = reference.seen.groups
        rows_of = np.split(np.argsort(groups, kind="stable"), np.cumsum(np.bincount(groups))[:-1])
        self._calibrations, offsets = [], []
        for number in range(CALIBRATIONS + 1):
            rows = np.arange(len(labels))
            if number:  # the first is that of all
                rows = np.concatenate([rows_of[one] for one in self._random.integers(len(rows_of), size=len(rows_of))])
            calibration = Calibration.fit(probabilities[rows], labels[rows])
            true = figures_of(labels[rows][np.newaxis], probabilities[rows], self._threshold)
            drawn = self._drawn(calibration(probabilities[rows]), groups[rows], 20)
            guessed = figures_of(drawn, probabilities[rows], self._threshold)
            self._calibrations.append(calibration)
            offsets.append({name: float(true[name][0] - np.nanmean(guessed[name])) for name in PERFORMANCE})
        self._offsets = offsets

    def __call__(self, seen: Seen, moved: float) -> dict[str, Figure]:
        """Return the estimated figures with 95 % intervals. moved: how far the pictures have moved, 0 to 1."""
        draws: dict[str, list[Floats]] = {name: [] for name in PERFORMANCE}
        each = int(np.clip(_DRAWN_IMAGES // max(len(seen.probabilities), 1), 4, DRAWS // CALIBRATIONS))
        at_once = min(CALIBRATIONS, max(1, _AT_ONCE // (each * max(len(seen.probabilities), 1))))
        for start in range(1, CALIBRATIONS + 1, at_once):
            several = range(start, min(start + at_once, CALIBRATIONS + 1))
            calibrated = [self._calibrations[number](seen.probabilities) for number in several]
            labels = np.concatenate([self._drawn(one, seen.groups, each) for one in calibrated])
            for name, values in figures_of(labels, seen.probabilities, self._threshold).items():
                offsets = np.repeat([self._offsets[number][name] for number in several], each)
                draws[name].append(values + offsets)
        found = {}
        for name, parts in draws.items():
            values = np.concatenate(parts)
            values = np.clip(values[np.isfinite(values)], 0, 1)
            if len(values) < each * CALIBRATIONS / 2:
                found[name] = Figure()
                continue
            low, high = np.quantile(values, [0.025, 0.975])
            found[name] = Figure(
                value=float(values.mean()),
                low=float(low - moved * max(low - CHANCE[name], 0)),
                high=float(high + moved * (1 - high)),
            )
        return found

    def _drawn(self, probabilities: Floats, groups: Ints, count: int) -> Ints:
        """Return `count` draws of a class for each image (count, n); images of a group are drawn together."""
        ends = np.cumsum(probabilities, axis=1)[:, :-1]
        chance = self._random.random((count, int(groups.max()) + 1), dtype=np.float32)[:, groups]
        return np.asarray((chance > ends[:, 0]).astype(np.int8) + (chance > ends[:, 1]), dtype=np.int8)


def measured(seen: Seen, labels: Ints, threshold: float) -> dict[str, Figure]:
    """Return the figures of images with known classes, with the 95 % intervals of `metrics.intervals`; empty without any.

    Each says on how many cases of the rarest class it rests, so that too few are not shown.
    """
    if not len(labels):
        return {}
    scored = ScoredImages(labels, seen.probabilities, seen.groups)
    points = figures_of(labels[np.newaxis], seen.probabilities, threshold)
    found = intervals(scored, threshold)
    return {
        name: Figure.of(float(points[name][0]), found[name], fewest_lesions(scored, name))
        for name in PERFORMANCE
        if np.isfinite(points[name][0])
    }
