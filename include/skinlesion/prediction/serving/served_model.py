"""The model in service as the server holds it: verified, in memory, with a classifier for each thread; and a candidate beside it."""

from __future__ import annotations

import json
import logging
import queue
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from skinlesion.data.images.file import Pixels
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import IMAGE_SIDE
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import Answer, Classifier
from skinlesion.prediction.decision import DecisionRule
from skinlesion.prediction.learnt import LearntPictures
from skinlesion.registry import in_service, model_files, signature
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import InService
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.model_files import METRICS, MODEL_CARD
from skinlesion.registry.versions import FIGURES, Registered

log = logging.getLogger(__name__)


class NoModel(DataError):
    """No model is in service; the server waits for one."""


@dataclass(frozen=True)
class ServedModel:
    """One version in memory, which answers all images of a request.

    Attributes:
        version: the run that trained it.
        number: number of the version in the registry; None for a model that came into service without one.
        since: when it came into service, ISO 8601.
        sha256: the SHA-256 of each of its files, by name.
        h5: the Keras file, for Grad-CAM.
        rule: how probabilities become a decision; which the record of the release holds.
        figures: what evaluate measured (metrics.json); None for a model that was not evaluated.
        card: path of the model card; None for a model without one.
    """

    version: str
    number: int | None
    since: str
    sha256: dict[str, str]
    h5: Path
    rule: DecisionRule
    figures: MetricsRecord | None
    card: Path | None
    _idle: queue.SimpleQueue[Classifier]

    def answer(self, pixels: Pixels, sha256: str) -> Answer:
        """Return the model's answer for an image, RGB, a uint8 array of shape (224, 224, 3); sha256: of its file."""
        classifier = self._idle.get()  # one for each thread that predicts
        try:
            return classifier(pixels, sha256)
        finally:
            self._idle.put(classifier)

    def operating_point(self) -> dict[str, Any]:
        """Return the operating point, as documents.OperatingPoint."""
        return {
            "malignant_threshold": self.rule.malignant_threshold,
            "target_sensitivity": self.rule.target_sensitivity,
            "malignant_lesions": self.rule.malignant_lesions,
            "chosen": self.rule.chosen,
        }

    def meaning(self, decision: str) -> str | None:
        """Return what a decision is worth, a sentence; None for a model of which nobody knows."""
        if self.figures is None:
            return None
        return self.figures.decisions.account.meaning(decision)

    def warnings(self) -> list[str]:
        """Return what a reader of its answers must know."""
        if self.figures is None:
            return [*self.rule.warnings, "This model was not evaluated: nobody knows how often it is right."]
        return list(dict.fromkeys([*self.figures.warnings, *self.rule.warnings]))

    def main_figures(self) -> dict[str, Any] | None:
        """Return the headline as documents.MainFigures; None for a model that was not evaluated."""
        found = self.figures
        if found is None:
            return None
        figures = {name: (title, found.figure(name)) for name, title in FIGURES.items()}
        return {
            "images": found.images,
            "lesions": found.lesions,
            "headline": {
                name: {"title": title, "number": one.number, "interval": one.interval, "text": one.text}
                | ({"value": one.value, "low": one.low, "high": one.high} if one.is_shown else {})
                for name, (title, one) in figures.items()
            },
            "malignant_lesions": found.decisions.account.sentence,
        }


def load(models: Path, threads: int) -> ServedModel:
    """Return the model in service, with each file verified by its SHA-256 and a classifier for each thread.

    Raises NoModel when nothing is in service, and DataError when a file is not what the record says (the message names
    the file and both hashes) or LiteRT cannot run the model.
    """
    now = in_service.read(models)
    if now is None:
        raise NoModel(
            f"No model is in service in {models}. Train one with `skinlesion run`, or put a candidate in service with "
            "`skinlesion models promote`. The server loads it by itself."
        )
    contents = {name: now.verified(name) for name in now.sha256}
    signature.require(now.folder / signature.SIGNATURE, now.sha256, now.version)
    rule = _rule(now)
    candidate = layout.candidate(models, now.run)
    return ServedModel(
        version=now.run,
        number=now.version,
        since=now.entry.at,
        sha256=now.sha256,
        h5=now.h5,
        rule=rule,
        figures=_figures(candidate / METRICS),
        card=_existing(candidate / MODEL_CARD),
        _idle=_classifiers(contents[now.tflite.name], rule, _learnt(now.folder, contents), str(now.tflite), threads),
    )


class Shadowing(NamedTuple):
    """A candidate in memory. version, number: as of a `ServedModel`."""

    version: str
    number: int
    classifier: Classifier


def load_candidate(models: Path, version: Registered) -> Shadowing:
    """Return a version that is not in service, each file of it checked as `load` does. Raises DataError, which names the file."""
    candidate, sha256 = Candidate(layout.candidate(models, version.run)), model_files.released(version.sha256)
    contents = {name: candidate.verified(name, expected) for name, expected in sha256.items()}
    signature.require(signature.signature_path(models, version.number), sha256, version.number)
    if missing := in_service.NEEDED - contents.keys():
        raise DataError(f"{candidate.folder} was registered without {', '.join(sorted(missing))}.")
    rule = DecisionRule.of(json.loads(contents[model_files.RULE_FILE]), str(candidate.decision_rule))
    learnt = _learnt(candidate.folder, contents)
    ready = _classifiers(contents[model_files.TFLITE], rule, learnt, str(candidate.tflite), 1)
    return Shadowing(version.run, version.number, ready.get())


def _learnt(folder: Path, contents: dict[str, bytes]) -> LearntPictures | None:
    content = contents.get(model_files.LEARNT_FILE)
    return None if content is None else LearntPictures.read(content, str(folder / model_files.LEARNT_FILE))


def _classifiers(
    content: bytes, rule: DecisionRule, learnt: LearntPictures | None, name: str, threads: int
) -> queue.SimpleQueue[Classifier]:
    """Return classifiers that have each run once: the first run takes several times as long as the next."""
    ready: queue.SimpleQueue[Classifier] = queue.SimpleQueue()
    grey = np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 128, dtype=np.uint8)
    for _ in range(threads):
        try:
            model = LiteRTModel(content)
        except DataError:
            raise DataError(f"{name} is not a model that LiteRT can run.") from None
        if rule.most_distance is not None and model.outputs < 2:
            raise DataError(
                f"{name} does not measure how unlike the training images an image is, which its decision rule asks for."
            )
        classifier = Classifier(model, rule, learnt)
        try:
            probabilities = classifier(grey).probabilities
        except (ValueError, RuntimeError) as error:
            raise DataError(f"{name} does not accept an image of {IMAGE_SIDE}x{IMAGE_SIDE}: {error}") from None
        if probabilities.shape != (len(LABELS),) or not np.isclose(probabilities.sum(), 1, atol=1e-3):
            raise DataError(f"{name} gives {probabilities!r} for a grey image; expected {len(LABELS)} probabilities.")
        ready.put(classifier)
    return ready


def _rule(now: InService) -> DecisionRule:
    where = f"The decision rule in {now.folder / model_files.RECORD} of the model in service, run {now.run}"
    return DecisionRule.of(now.decision_rule, where)


def _figures(path: Path) -> MetricsRecord | None:
    try:
        return MetricsRecord.read_if_there(path)
    except DataError as error:
        log.warning("%s The model is served without its figures", error)
        return None


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
