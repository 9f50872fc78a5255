"""What is answered for an image: malignant, benign, unknown, or no answer because the model cannot know.

The rule travels with the model: train writes it as decision_rule.json beside the model's files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS, MALIGNANT, UNKNOWN
from skinlesion.foundation.errors import DataError
from skinlesion.registry.model_files import RULE_FILE

Floats = npt.NDArray[np.floating[Any]]

VERSION: Final = 1
"""Of decision_rule.json's layout."""

RAREST: Final = 0.01
"""A class's share of the training images counts as at least this, so that a class of three images is not always sure."""

WITHOUT_RULE: Final = "No decision rule lies with the model: this is the most probable class."


class Decision(NamedTuple):
    """What is answered, one of `LABELS`, and why: a sentence for a person."""

    decision: str
    reason: str


@dataclass(frozen=True)
class DecisionRule:
    """The thresholds that a model was given on its inner fold, and what was measured there.

    temperature: what training's logits were divided by; the model's files have it folded in.
    views: how many of an image's orientations (`orientation`) are averaged, 1, 2 or 4; the thresholds are for these.
    malignant_threshold: the least P(malignant) that is called malignant, chosen to find `target_sensitivity` of the malignant.
    least_confidence: below it there is no answer; with `most_distance` it leaves `coverage` of the inner fold answered.
    most_distance: above it an image is unlike the training images; None where the model gives no distance.
    class_shares: of the training images, in `LABELS`' order; what `confidence` weighs the classes by.
    distance: where what the distance is computed with lies; None without one.
    inner_fold: what was measured there. warnings: what a reader of the result must know, sentences.
    """

    temperature: float
    views: int
    malignant_threshold: float
    target_sensitivity: float
    least_confidence: float
    coverage: float
    most_distance: float | None
    class_shares: tuple[float, ...]
    distance: Mapping[str, Any] | None = None
    inner_fold: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Give the rule of a decision_rule.json. Raises DataError when it is missing, damaged or of another layout."""
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            raise DataError(f"{path} is missing: expected the decision rule of the model beside it.") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a decision rule ({error}). {_MEND}") from None
        try:
            return cls.of(content)
        except ValueError as error:
            raise DataError(f"{path}: {error}. {_MEND}") from None

    @classmethod
    def of(cls, content: Any) -> Self:
        """Give the rule that `as_json` gave. Raises ValueError, which says what is wrong with it."""
        if not isinstance(content, dict):
            raise ValueError("expected a JSON object")
        if content.get("version") != VERSION:
            raise ValueError(f"expected a decision rule of version {VERSION}, found {content.get('version')!r}")
        missing = [name for name in cls.__dataclass_fields__ if name not in content]
        if missing:
            raise ValueError(f"expected {', '.join(missing)}")
        values = {name: content[name] for name in cls.__dataclass_fields__}
        for name in ("temperature", "malignant_threshold", "target_sensitivity", "least_confidence", "coverage"):
            values[name] = _number(name, values[name])
        if values["most_distance"] is not None:
            values["most_distance"] = _number("most_distance", values["most_distance"])
        if values["views"] not in (1, 2, 4):
            raise ValueError(f"expected views of 1, 2 or 4, found {values['views']!r}")
        if not isinstance(values["class_shares"], list) or len(values["class_shares"]) != len(LABELS):
            raise ValueError(f"expected class_shares of {len(LABELS)} numbers, found {values['class_shares']!r}")
        values["class_shares"] = tuple(_number("class_shares", share) for share in values["class_shares"])
        values["warnings"] = tuple(values["warnings"])
        return cls(**values)

    def measured(self, inner_fold: Mapping[str, Any]) -> Self:
        """Give the rule with what was measured on the inner fold."""
        return replace(self, inner_fold=inner_fold)

    def as_json(self) -> dict[str, Any]:
        """Give it as plain JSON."""
        return {"version": VERSION, **asdict(self)}

    def confidence(self, probabilities: Floats) -> npt.NDArray[np.float64]:
        """Give how sure the model is of its most probable class, float64 (n,); see `confidence`."""
        return confidence(probabilities, self.class_shares)

    def decide(self, probabilities: Floats, distances: Floats | None = None) -> list[Decision]:
        """Give what is answered for each image.

        probabilities: (n, 3) in `LABELS`' order. distances: (n,), how unlike the training images it is; None where the model
        gives none, and then only the probabilities count.
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
                UNKNOWN, f"Not like the images it was trained on: distance {far:.1f}, at most {self.most_distance:.1f}."
            )
        if sure < self.least_confidence:
            return Decision(
                UNKNOWN, f"Not sure enough to answer: confidence {sure:.2f}, at least {self.least_confidence:.2f}."
            )
        likelihood = float(probabilities[LABELS.index(MALIGNANT)])
        if likelihood >= self.malignant_threshold:
            return Decision(
                MALIGNANT,
                f"P(malignant) is {likelihood:.3f}, at least {self.malignant_threshold:.3f}: the threshold chosen to find "
                f"{self.target_sensitivity:.0%} of the malignant.",
            )
        others = [label for label in LABELS if label != MALIGNANT]
        likelier = max(others, key=lambda label: float(probabilities[LABELS.index(label)]))
        return Decision(
            likelier,
            f"P(malignant) is {likelihood:.3f}, below {self.malignant_threshold:.3f}; of the others {likelier} is the likelier.",
        )


_MEND: Final = (
    "If the pipeline wrote it, train again with `force`; else remove it, and the model decides without a rule."
)


def rule_beside(model: Path) -> DecisionRule | None:
    """Give the rule that lies in the folder of a model's file; None where there is none. Raises DataError for a bad one."""
    path = model.with_name(RULE_FILE)
    return DecisionRule.read(path) if path.is_file() else None


def confidence(probabilities: Floats, class_shares: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Give how sure a model is of its most probable class, 0..1, float64 (n,).

    It is that class's share of the sum of p / sqrt(class share) over the classes: what its probability would be were the
    rare classes less rare. Balanced accuracy counts a mistake on a rare class for more, and so does this: leaving out the
    least confident fifth raises it by two to three times as much as with the largest probability (docs/experiments.md).
    probabilities: (n, 3). class_shares: (3,), of the training images.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    weighted = rows / np.sqrt(np.maximum(class_shares, RAREST))
    of_label = weighted[np.arange(len(rows)), rows.argmax(axis=1)]
    return np.asarray(of_label / weighted.sum(axis=1))


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"expected a number as {name}, found {value!r}")
    return float(value)
