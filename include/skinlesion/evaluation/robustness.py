"""What rotation, brightness, blur, compression and scale do to the figures, on a sample of the held-out images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.evaluation.lesion_bootstrap import Drawn, FigureOfPairs, bca, draw, widened
from skinlesion.evaluation.metrics import balanced_accuracy, balanced_accuracy_interval, fewest_lesions
from skinlesion.evaluation.scored_images import Floats, Ints, ScoredImages
from skinlesion.evaluation.shares import Interval, change_of_balanced_accuracy, finite
from skinlesion.registry.figure import Figure
from skinlesion.registry.metrics_record import Robustness, RobustnessCurve, RobustnessFigures, RobustnessPoint

Pixels = npt.NDArray[np.uint8]
Alteration = Callable[[Pixels, float], Pixels]

RESAMPLES_OF_A_POINT: Final = 500


def rotated(image: Pixels, degrees: float) -> Pixels:
    """Return the image rotated about its centre; what comes in from outside is the image mirrored at its edge."""
    return _warped(image, degrees, 1.0)


def brightened(image: Pixels, factor: float) -> Pixels:
    """Return the image with its brightness multiplied by a factor."""
    return np.clip(np.round(image * factor), 0, 255).astype(np.uint8)


def blurred(image: Pixels, sigma: float) -> Pixels:
    """Return the image blurred with a Gaussian of this standard deviation, in pixels of the 224."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)


def compressed(image: Pixels, quality: float) -> Pixels:
    """Return the image as a JPEG of this quality has it."""
    content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV reads what it wrote"
    return np.ascontiguousarray(decoded[..., ::-1], dtype=np.uint8)


def scaled(image: Pixels, factor: float) -> Pixels:
    """Return the image with the lesion larger (factor above 1) or smaller; edges as in `rotated`."""
    return _warped(image, 0.0, factor)


def _warped(image: Pixels, degrees: float, factor: float) -> Pixels:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, factor)
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        dtype=np.uint8,
    )


@dataclass(frozen=True)
class Curve:
    """One kind of alteration. unit: what its strength means; unaltered: the strength that alters nothing."""

    alter: Alteration
    unit: str
    unaltered: float
    strengths: tuple[float, ...]


CURVES: Final[dict[str, Curve]] = {
    "rotation": Curve(rotated, "degrees", 0.0, (15.0, 45.0, 90.0)),
    "brightness": Curve(brightened, "times the light", 1.0, (0.6, 0.8, 1.2, 1.4)),
    "blur": Curve(blurred, "pixels (sigma)", 0.0, (1.0, 2.0, 3.0)),
    "JPEG quality": Curve(compressed, "quality", 95.0, (60.0, 30.0, 10.0)),
    "scale": Curve(scaled, "times the size", 1.0, (0.7, 0.85, 1.2, 1.5)),
}
"""A dermatoscope, a phone or a messenger alters images as much; the last strengths of each go beyond that."""


def choose_sample(rows: pd.DataFrame, lesions: int) -> Ints:
    """Return the positions of at most `lesions` held-out images, one a lesion, as evenly over the classes as possible.

    rows: columns image, group, label. The same images give the same sample: the first in the order of a hash of their
    names. All lesions of a rare class are taken, and more of the others.
    """
    order = sorted(range(len(rows)), key=lambda at: hashlib.sha256(rows["image"].iloc[at].encode()).hexdigest())
    firsts = rows.iloc[order].assign(at=order).drop_duplicates("group")
    queues = {label: found["at"].tolist() for label, found in firsts.groupby("label", sort=True)}
    chosen: list[int] = []
    for left in range(len(queues), 0, -1):
        label = min(queues, key=lambda name: len(queues[name]))
        chosen += queues.pop(label)[: (lesions - len(chosen)) // left]
    return np.array(sorted(chosen), dtype=np.int64)


def altered(images: Sequence[Pixels]) -> list[Callable[[], Pixels]]:
    """Return functions that return each image unaltered, then each alteration: the order that `robustness` expects.

    The caller runs them, on as many threads as there are.
    """
    made: list[Callable[[], Pixels]] = [partial(np.asarray, image) for image in images]
    for curve in CURVES.values():
        made += [partial(curve.alter, image, strength) for strength in curve.strengths for image in images]
    return made


def robustness(labels: Ints, lesions: Sequence[str], probabilities: Floats, held_out_labels: Ints) -> Robustness:
    """Return balanced accuracy and malignant AUROC by strength, each with its 95 % interval and the change.

    Args:
        labels: (n,) of the sample.
        lesions: n names, all different.
        probabilities: (m, 3) for the m pictures of `altered`, in its order.
        held_out_labels: of all held-out images. The classes are about even in the sample, so the AUROC weights each image
            by the share of its class there.

    A change is the altered figure minus the unaltered one on the same images.
    """
    parts = probabilities.reshape(-1, len(labels), len(LABELS))
    shares = np.bincount(held_out_labels, minlength=len(LABELS)) / np.maximum(
        1, np.bincount(labels, minlength=len(LABELS))
    )
    base = _Measured.of(ScoredImages.of(labels, parts[0], lesions), shares)
    answers = iter(parts[1:])
    curves: dict[str, RobustnessCurve] = {}
    for name, curve in CURVES.items():
        points = []
        for strength in curve.strengths:
            found = _Measured.of(ScoredImages.of(labels, next(answers), lesions), shares)
            points.append(RobustnessPoint(strength=strength, **found.figures(), **found.changes_from(base)))
        curves[name] = RobustnessCurve(unit=curve.unit, unaltered=curve.unaltered, points=points)
    unaltered = RobustnessFigures(**base.figures())
    rarest = fewest_lesions(base.scored, "balanced_accuracy")
    return Robustness(images=len(labels), lesions=rarest, unaltered=unaltered, curves=curves)


@dataclass(frozen=True)
class _Measured:
    """The sample, altered in one way, with the bootstrap of its AUROC."""

    scored: ScoredImages
    auroc: Drawn

    @classmethod
    def of(cls, scored: ScoredImages, shares: Floats) -> _Measured:
        pairs = FigureOfPairs.of("malignant_auroc", scored, shares[scored.labels])
        return cls(scored, draw([pairs], scored.lesions, RESAMPLES_OF_A_POINT, seed=0)["malignant_auroc"])

    def figures(self) -> dict[str, Figure]:
        """Return the fields of `RobustnessFigures`."""
        accuracy, interval = balanced_accuracy(self.scored), balanced_accuracy_interval(self.scored)
        return {
            "balanced_accuracy": self._figure("balanced_accuracy", accuracy, interval),
            "malignant_auroc": self._figure("malignant_auroc", self.auroc.point, bca(self.auroc)),
        }

    def changes_from(self, base: _Measured) -> dict[str, Figure]:
        """Return the fields that `RobustnessPoint` has beside those and the strength."""
        labels, groups = self.scored.labels, self.scored.groups
        change, interval = change_of_balanced_accuracy(labels, self.scored.predicted, base.scored.predicted, groups)
        auroc = self.auroc - base.auroc
        bounds = widened(auroc, fewest_lesions(self.scored, "malignant_auroc"))
        return {
            "balanced_accuracy_change": self._figure("balanced_accuracy", change, interval),
            "malignant_auroc_change": self._figure("malignant_auroc", auroc.point, bounds),
        }

    def _figure(self, name: str, value: float, interval: Interval | None) -> Figure:
        """Return a figure; without a number where it is undefined, without an interval where it rests on one lesion."""
        is_several = fewest_lesions(self.scored, name) > 1
        return Figure.of(finite(value), interval if is_several else None)
