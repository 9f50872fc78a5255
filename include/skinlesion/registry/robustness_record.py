"""The part of metrics.json that says how figures change when images are altered."""

from __future__ import annotations

from pydantic import ConfigDict

from skinlesion.foundation.record import RecordPart
from skinlesion.registry.figure import Figure


class RobustnessPart(RecordPart):
    """Part of it; NaN and infinity are refused, as JSON has neither."""

    model_config = ConfigDict(allow_inf_nan=False)


class RobustnessFigures(RobustnessPart):
    """Figures of a sample of the held-out images, altered or not."""

    balanced_accuracy: float | None
    balanced_accuracy_interval: list[float] | None
    malignant_auroc: float | None
    malignant_auroc_interval: list[float] | None

    @property
    def auroc(self) -> Figure:
        """The malignant AUROC as people read it."""
        return Figure.of(self.malignant_auroc, self.malignant_auroc_interval)

    @property
    def accuracy(self) -> Figure:
        """The balanced accuracy as people read it."""
        return Figure.of(self.balanced_accuracy, self.balanced_accuracy_interval)


class RobustnessPoint(RobustnessFigures):
    """The figures at one strength of an alteration, and what they differ by from the unaltered ones."""

    strength: float
    balanced_accuracy_change: float | None
    balanced_accuracy_change_interval: list[float] | None
    malignant_auroc_change: float | None
    malignant_auroc_change_interval: list[float] | None


class RobustnessCurve(RobustnessPart):
    """One kind of alteration. unaltered: the strength that alters nothing."""

    unit: str
    unaltered: float
    points: list[RobustnessPoint]


class Robustness(RobustnessPart):
    """Figures under alterations of the images. images: size of the sample; lesions: those of the rarest class in it."""

    images: int
    lesions: int
    unaltered: RobustnessFigures
    curves: dict[str, RobustnessCurve]

    @property
    def has_too_few(self) -> bool:
        """Whether the sample has too few lesions of a class to judge a figure."""
        return Figure(lesions=self.lesions).has_too_few
