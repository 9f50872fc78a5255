"""The decision rule: what is answered for an image, which is malignant, benign, unknown, or no answer.

The rule travels with the model: train writes it as decision_rule.json beside the model's files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, JsonValue

from skinlesion.data.labels.classes import LABELS, MALIGNANT
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.foundation.wording import counted
from skinlesion.registry.figure import FEWEST_LESIONS
from skinlesion.registry.group_decisions import NO_ANSWER
from skinlesion.registry.model_files import RULE_FILE

Floats = npt.NDArray[np.floating[Any]]

RAREST: Final = 0.01
"""A class's share of the training images counts as at least this, so that a class of three images is not always sure."""


class Decision(NamedTuple):
    """The answer, one of `group_decisions.DECISIONS`, and the reason for it: a sentence for a person."""

    decision: str
    reason: str


class DistanceSource(RecordPart):
    """What distances are computed with: the file beside the rule, and the network's layers that it is for."""

    file: str
    layers: list[str]


class DecisionRule(Record):
    """The thresholds that a model was given on its inner fold, and what was measured there.

    Attributes:
        temperature: what training's logits were divided by. The model's files have it folded in.
        malignant_threshold: the operating point: the least P(malignant) that is called malignant. It was chosen to find
            `target_sensitivity` of the malignant images.
        target_sensitivity: share of the malignant images, 0..1.
        malignant_lesions: number of malignant lesions that it was chosen on; None if nobody knows.
        least_confidence: below it there is no answer. Together with `most_distance` it leaves `coverage` of the inner fold
            answered.
        coverage: share of the inner fold, 0..1.
        most_distance: above it an image is unlike the training images; None if the model gives no distance.
        class_shares: share of each class among the training images, in `LABELS`' order; see `confidence`.
        distance: what distances are computed with; None if the model gives none.
        inner_fold: figures measured on the inner fold, for people.
        warnings: sentences that a reader of a result must know.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    remedy: ClassVar[str] = (
        "If the pipeline wrote the rule, train again with the setting `force`; else predict with a file that train wrote."
    )

    format_version: int = Field(default=1, alias="version")
    temperature: float
    malignant_threshold: float
    target_sensitivity: float
    malignant_lesions: int | None = None
    least_confidence: float
    coverage: float
    most_distance: float | None
    class_shares: tuple[float, float, float]
    distance: DistanceSource | None = None
    inner_fold: dict[str, JsonValue] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, content: object, where: str) -> Self:
        """Return the rule in a JSON document. Raises DataError that begins with `where` if the content does not fit."""
        return cls._of_json(json.dumps(content), where)

    @property
    def chosen(self) -> str:
        """How the threshold was chosen, and on how many lesions."""
        return chosen(self.target_sensitivity, self.malignant_lesions)

    def measured(self, inner_fold: Mapping[str, JsonValue]) -> Self:
        """Return the rule with what was measured on the inner fold."""
        return self.model_copy(update={"inner_fold": dict(inner_fold)})

    def confidence(self, probabilities: Floats) -> npt.NDArray[np.float64]:
        """Return how sure the model is of its most probable class, a float64 array of shape (n,); see `confidence`."""
        return confidence(probabilities, self.class_shares)

    def decide(self, probabilities: Floats, distances: Floats | None = None) -> list[Decision]:
        """Return the decision for each image.

        Args:
            probabilities: shape (n, 3), in `LABELS`' order.
            distances: shape (n,), how unlike the training images each image is. Without distances only the probabilities
                count.
        """
        rows = np.asarray(probabilities, dtype=np.float64).reshape(-1, len(LABELS))
        far = np.zeros(len(rows)) if distances is None else np.asarray(distances, dtype=np.float64).reshape(-1)
        if len(far) != len(rows):
            raise ValueError(f"expected a distance for each of {len(rows)} images, received {len(far)}")
        sure = self.confidence(rows)
        return [self._decision(*of_image) for of_image in zip(rows, sure.tolist(), far.tolist(), strict=True)]

    def _decision(self, probabilities: Floats, sure: float, far: float) -> Decision:
        if self.most_distance is not None and not far <= self.most_distance:
            return Decision(
                NO_ANSWER,
                f"Not like the images it was trained on: distance {far:.1f}, at most {self.most_distance:.1f}.",
            )
        if not sure >= self.least_confidence:
            return Decision(
                NO_ANSWER, f"Not sure enough to answer: confidence {sure:.2f}, at least {self.least_confidence:.2f}."
            )
        likelihood = float(probabilities[LABELS.index(MALIGNANT)])
        if likelihood >= self.malignant_threshold:
            return Decision(
                MALIGNANT,
                f"P(malignant) is {likelihood:.3f}, at least {self.malignant_threshold:.3f}: the threshold {self.chosen}.",
            )
        others = [label for label in LABELS if label != MALIGNANT]
        likelier = max(others, key=lambda label: float(probabilities[LABELS.index(label)]))
        return Decision(
            likelier,
            f"P(malignant) is {likelihood:.3f}, below {self.malignant_threshold:.3f}; of the others {likelier} is the likelier.",
        )


def chosen(target: float, lesions: int | None) -> str:
    """Return how a threshold was chosen for this sensitivity, and on how many malignant lesions."""
    what = f"chosen to find {target:.0%} of the malignant images"
    if lesions is None:
        return what
    few = ", too few to rely on" if lesions < FEWEST_LESIONS else ""
    return f"{what} on {counted(lesions, 'malignant lesion')} of the training part{few}"


def rule_beside(model: Path) -> DecisionRule:
    """Return the decision rule in the folder of a model's file. Raises DataError if it is missing or does not fit."""
    path = model.with_name(RULE_FILE)
    try:
        return DecisionRule.read(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: expected the decision rule of {model.name} beside it, which says from which probability on an "
            "image counts as malignant. Copy the rule that train wrote there, or predict with the candidate's own file, "
            "models/candidates/<run>/model.tflite."
        ) from None


def confidence(probabilities: Floats, class_shares: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return how sure a model is of its most probable class, 0..1, a float64 array of shape (n,).

    It is that class's share of the sum of p / sqrt(class share) over the classes: what its probability would be if the rare
    classes were less rare. Balanced accuracy weighs a mistake on a rare class more, and so does this: leaving out the least
    confident fifth raises it by two to three times as much as with the largest probability (docs/experiments.md).

    Args:
        probabilities: shape (n, 3).
        class_shares: share of each class among the training images, shape (3,).
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    weighted = rows / np.sqrt(np.maximum(class_shares, RAREST))
    of_label = weighted[np.arange(len(rows)), rows.argmax(axis=1)]
    return np.asarray(of_label / weighted.sum(axis=1))
