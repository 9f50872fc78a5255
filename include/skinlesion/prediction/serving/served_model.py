"""The model in service as the server holds it: verified, in memory, ready on every thread."""

from __future__ import annotations

import hashlib
import logging
import queue
import subprocess
import sys
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
from skinlesion.registry.metrics_record import MetricsRecord

log = logging.getLogger(__name__)

CONVERSION_SECONDS: Final = 300
"""TensorFlow's start and the conversion take some 20 on two cores."""

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
        rule: how probabilities become a decision; None without.
        figures: what evaluate measured (metrics.json); None without.
        card: the model card; None without.
    """

    version: str
    number: int | None
    since: str
    sha256: dict[str, str]
    h5: Path
    rule: DecisionRule | None
    figures: MetricsRecord | None
    card: Path | None
    _idle: queue.SimpleQueue[Classifier]

    def answer(self, pixels: Pixels) -> Answer:
        """Say what the model says of an image, RGB uint8 (224, 224, 3)."""
        classifier = self._idle.get()  # one for each thread that predicts
        try:
            return classifier(pixels)
        finally:
            self._idle.put(classifier)

    def operating_point(self) -> dict[str, Any] | None:
        """Say from which probability on the decision is malignant; None for a model without a decision rule."""
        if self.rule is None:
            return None
        return {
            "malignant_threshold": self.rule.malignant_threshold,
            "target_sensitivity": self.rule.target_sensitivity,
        }

    def headline(self) -> dict[str, Any] | None:
        """Give the headline of what evaluate measured; None for a model that was not evaluated."""
        if self.figures is None:
            return None
        return self.figures.model_dump(mode="json", include=set(HEADLINE))


def load(models: Path, threads: int) -> ServedModel:
    """Give the model in service, every file of it verified by SHA-256, with a classifier for each thread.

    Raises NoModel when nothing is in service, and DataError when a file is not what the record says (the message names
    the file and both hashes), when LiteRT cannot run it, or when the file carries code.
    """
    now = in_service.read(models)
    if now is None:
        return _without_record(models, threads)
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
        figures=_figures(candidate / "metrics.json"),
        card=_existing(candidate / "model_card.md"),
        _idle=_classifiers(content, rule, str(now.tflite), threads),
    )


def _without_record(models: Path, threads: int) -> ServedModel:
    """Serve an .h5 that somebody put there; it is converted in a process of its own, for that takes TensorFlow."""
    path = layout.model_in_service(models)
    if not path.is_file():
        raise NoModel(
            f"No model is in service in {models}. Train one with `skinlesion run`, or put a candidate in service with "
            "`skinlesion models promote`. The server takes it up by itself."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    return ServedModel(
        version=found[:16],
        number=None,
        since="",
        sha256={path.name: found},
        h5=path,
        rule=None,
        figures=None,
        card=None,
        _idle=_classifiers(_converted(path), None, str(path), threads),
    )


def _converted(path: Path) -> bytes:
    command = [sys.executable, "-m", "skinlesion.prediction.serving.convert", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=CONVERSION_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise DataError(f"{path} could not be converted for LiteRT within {CONVERSION_SECONDS} seconds.") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"the conversion ended with status {done.returncode}"
        raise DataError(said if done.returncode == 2 else f"{path} cannot be converted for LiteRT: {said[-500:]}")
    return done.stdout


def _classifiers(content: bytes, rule: DecisionRule | None, name: str, threads: int) -> queue.SimpleQueue[Classifier]:
    """Give classifiers that have all run once: the first run of one takes several times as long as the next."""
    ready: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    grey = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 128, dtype=np.uint8)
    for _ in range(threads):
        try:
            model = LiteRTModel(content)
        except DataError:
            raise DataError(f"{name} is no model that LiteRT can run.") from None
        if rule is not None and rule.most_distance is not None and model.outputs < 2:
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


def _rule(now: InService) -> DecisionRule | None:
    if now.decision_rule is None:
        return None
    try:
        return DecisionRule.of(now.decision_rule)
    except ValueError as error:
        raise DataError(f"The decision rule of the model in service, run {now.run}, cannot be used: {error}.") from None


def _figures(path: Path) -> MetricsRecord | None:
    try:
        return MetricsRecord.read_if_there(path)
    except DataError as error:
        log.warning("%s The model is served without its figures", error)
        return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
