"""A trained candidate: its folder, its files, the record of how it was made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skinlesion.registry import model_files
from skinlesion.registry.model_files import DISTANCE_FILE, RULE_FILE


@dataclass(frozen=True)
class Candidate:
    """The files of one candidate under models/candidates/<run>/."""

    folder: Path

    @property
    def run(self) -> str:
        """Name of the run: a hash of what the model depends on."""
        return self.folder.name

    @property
    def h5(self) -> Path:
        """The trained model as the recipe's users know it."""
        return self.folder / model_files.H5

    @property
    def keras(self) -> Path:
        """The trained model in Keras's own format."""
        return self.folder / model_files.KERAS

    @property
    def tflite(self) -> Path:
        """The trained model as LiteRT runs it."""
        return self.folder / model_files.TFLITE_OF_CANDIDATE

    @property
    def decision_rule(self) -> Path:
        """The thresholds of the model."""
        return self.folder / RULE_FILE

    @property
    def feature_distance(self) -> Path:
        """What tells how unlike the training images a picture is; not there where there were too few of them."""
        return self.folder / DISTANCE_FILE

    @property
    def backup(self) -> Path:
        """What an interrupted training goes on from; removed when it is finished."""
        return self.folder / "backup"

    @property
    def training(self) -> Path:
        """How the model was made; written last, so a candidate with it is complete."""
        return self.folder / model_files.TRAINING

    @property
    def trained_on(self) -> Path:
        """The contents of the originals it was trained on."""
        return self.folder / model_files.TRAINED_ON

    @property
    def metrics(self) -> Path:
        """What evaluate measured."""
        return self.folder / model_files.METRICS

    @property
    def predictions(self) -> Path:
        """The probabilities of the held-out images."""
        return self.folder / model_files.PREDICTIONS

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.folder / model_files.REPORT

    @property
    def model_card(self) -> Path:
        """What the model is for, what it was made from and what it is worth, in Markdown."""
        return self.folder / model_files.MODEL_CARD

    @property
    def data_report(self) -> Path:
        """The report of the data it was trained and measured on."""
        return self.folder / model_files.DATA_REPORT

    def read_training(self) -> dict[str, Any] | None:
        """Give the record of training; None unless it is there and the files that it names lie beside it as they were."""
        try:
            record: dict[str, Any] = json.loads(self.training.read_text())
            recorded = record["sha256"]
            names = {path.name for path in self.models} | (recorded.keys() & {RULE_FILE, DISTANCE_FILE})
            digests = {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in names}
        except (OSError, ValueError, KeyError, AttributeError):
            return None
        return record if recorded == digests else None

    def digests(self) -> dict[str, str]:
        """Give the SHA-256 of the files that make the model, by name."""
        files = [*self.models, self.decision_rule, self.feature_distance]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}

    @property
    def models(self) -> tuple[Path, Path, Path]:
        """The same model in its three formats."""
        return self.h5, self.keras, self.tflite
