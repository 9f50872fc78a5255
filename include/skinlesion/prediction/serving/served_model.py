"""The model in service as the server holds it: verified, in memory, ready on every thread."""

from __future__ import annotations

import hashlib
import json
import queue
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from skinlesion.data.images.file import Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import IMAGE_SIDE
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import Answer, Classifier
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry import in_service
from skinlesion.registry.in_service import InService
from skinlesion.registry.model_files import METRICS, MODEL_CARD

HEADLINE: Final = (
    "balanced_accuracy", "malignant_auroc", "expected_calibration_error", "operating_point", "intervals", "images",
    "lesions", "warnings",
)  # fmt: skip
"""Of metrics.json; what people see before they use the model."""


class NoModel(DataError):
    """Nothing is in service; the server waits for it."""


@dataclass(frozen=True)
class ServedModel:
    """One version in memory. A request is answered by one of these, from its first image to its last.

    Attributes:
        version: the run that trained it; of a file without a record, the beginning of its SHA-256.
        number: of the version in the registry; None without.
        since: when it came into service, ISO 8601; empty without a record.
        sha256: of each of its files, by name.
        h5: the Keras file, for Grad-CAM.
        rule: how probabilities become a decision.
        figures: what evaluate measured (metrics.json); None without.
        card: the model card; None without.
    """

    version: str
    number: int | None
    since: str
    sha256: dict[str, str]
    h5: Path
    rule: DecisionRule
    figures: dict[str, Any] | None
    card: Path | None
    _idle: queue.SimpleQueue[Classifier]

    def answer(self, pixels: Pixels) -> Answer:
        """Say what the model says of an image, RGB uint8 (224, 224, 3)."""
        classifier = self._idle.get()  # one for each thread that predicts
        try:
            return classifier(pixels)
        finally:
            self._idle.put(classifier)

    def operating_point(self) -> dict[str, float]:
        """Return the operating point: from which probability on the decision is malignant, and what it was chosen for."""
        return {
            "malignant_threshold": self.rule.malignant_threshold,
            "target_sensitivity": self.rule.target_sensitivity,
        }

    def headline(self) -> dict[str, Any] | None:
        """Give the headline of what evaluate measured; None for a model that was not evaluated."""
        if self.figures is None:
            return None
        return {name: self.figures[name] for name in HEADLINE if name in self.figures}


def load(models: Path, threads: int) -> ServedModel:
    """Give the model in service, every file of it verified by SHA-256, with a classifier for each thread.

    Raises NoModel when nothing is in service, and DataError when a file is not what the record says (the message names
    the file and both hashes), when LiteRT cannot run it, or when the file carries code.
    """
    now = in_service.read(models)
    if now is None:
        raise NoModel(
            f"No model is in service in {models}. Train one with `skinlesion run`, or put a candidate in service with "
            "`skinlesion models promote`. The server loads it by itself."
        )
    content = b""
    for name, expected in now.sha256.items():
        path = now.folder / name
        try:
            read = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} of the model in service cannot be read ({error.strerror}).") from None
        found = hashlib.sha256(read).hexdigest()
        if found != expected:
            raise DataError(
                f"{path} was altered: its SHA-256 is {found}, expected {expected} as it was put in service. Put the version "
                "in service again (`skinlesion models promote`), or go back to another (`skinlesion models rollback`)."
            )
        if path == now.tflite:
            content = read
    if not content:
        raise DataError(f"{now.folder} names no {now.tflite.name}: expected the model as LiteRT runs it.")
    rule = _rule(now)
    candidate = layout.candidate(models, now.run)
    return ServedModel(
        version=now.run,
        number=now.version,
        since=now.since,
        sha256=now.sha256,
        h5=now.h5,
        rule=rule,
        figures=_read_json(candidate / METRICS),
        card=_existing(candidate / MODEL_CARD),
        _idle=_classifiers(content, rule, str(now.tflite), threads),
    )


def _classifiers(content: bytes, rule: DecisionRule, name: str, threads: int) -> queue.SimpleQueue[Classifier]:
    """Give classifiers that have all run once: the first run of one takes several times as long as the next."""
    ready: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    grey = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 128, dtype=np.uint8)
    for _ in range(threads):
        try:
            model = LiteRTModel(content)
        except DataError:
            raise DataError(f"{name} is no model that LiteRT can run.") from None
        if rule.most_distance is not None and model.outputs < 2:
            raise DataError(
                f"{name} does not tell how unlike the training images a picture is, which its decision rule asks for."
            )
        classifier = Classifier(model, rule)
        try:
            probabilities = classifier(grey).probabilities
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{name} does not take an image of {IMAGE_SIDE}x{IMAGE_SIDE}: {error}") from None
        if probabilities.shape != (len(LABELS),) or not np.isclose(probabilities.sum(), 1, atol=1e-3):
            raise DataError(f"{name} gives {probabilities!r} for a grey image; expected {len(LABELS)} probabilities.")
        ready.put(classifier)
    return ready


def _rule(now: InService) -> DecisionRule:
    where = f"The decision rule in {now.folder / in_service.RECORD} of the model in service, run {now.run}"
    if now.decision_rule is None:
        raise DataError(f"{where}, is missing. {DecisionRule.remedy}")
    return DecisionRule.of(now.decision_rule, where)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
