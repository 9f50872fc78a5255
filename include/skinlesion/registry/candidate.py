"""A trained candidate: its folder and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skinlesion.foundation.checksum import sha256_of
from skinlesion.registry import model_files
from skinlesion.registry.model_files import DISTANCE_FILE, LEARNT_FILE, RULE_FILE
from skinlesion.registry.training_record import TrainingRecord


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
        """What measures how unlike the training images an image is; missing if there were too few of them."""
        return self.folder / DISTANCE_FILE

    @property
    def learnt_pictures(self) -> Path:
        """Hashes of the pictures that it learnt from, without their names."""
        return self.folder / LEARNT_FILE

    @property
    def backup(self) -> Path:
        """What an interrupted training continues from; removed when training is finished."""
        return self.folder / "backup"

    @property
    def training(self) -> Path:
        """How the model was made; written last, so a candidate with it is complete."""
        return self.folder / model_files.TRAINING

    @property
    def registered(self) -> Path:
        """The numbers under which it is registered."""
        return self.folder / model_files.REGISTERED

    @property
    def trained_on(self) -> Path:
        """Table of the originals that it learnt: on these it is never measured."""
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
    def picture_statistics(self) -> Path:
        """Measures of the held-out images: brightness, contrast, colours, size."""
        return self.folder / model_files.PICTURE_STATISTICS

    @property
    def report(self) -> Path:
        """The report for people."""
        return self.folder / model_files.REPORT

    @property
    def gallery(self) -> Path:
        """The held-out images, where they are too many for the report; else missing."""
        return self.folder / model_files.GALLERY

    @property
    def model_card(self) -> Path:
        """What the model is for, what it was made from and what it is worth, in Markdown."""
        return self.folder / model_files.MODEL_CARD

    @property
    def data_report(self) -> Path:
        """The report of the data it was trained and measured on."""
        return self.folder / model_files.DATA_REPORT

    def read_training(self) -> TrainingRecord | None:
        """Return how the model was made; None if the record or a file that it names is missing or a file was altered.

        Raises DataError if the record does not fit.
        """
        record = TrainingRecord.read_if_there(self.training)
        if record is None:
            return None
        names = {path.name for path in self.models} | (record.sha256.keys() & {RULE_FILE, DISTANCE_FILE, LEARNT_FILE})
        try:
            digests = {name: sha256_of(self.folder / name) for name in names}
        except OSError:
            return None
        return record if record.sha256 == digests else None

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the files that make the model, by name."""
        files = [*self.models, self.decision_rule, self.feature_distance, self.learnt_pictures]
        return {path.name: sha256_of(path) for path in files if path.is_file()}

    @property
    def models(self) -> tuple[Path, Path, Path]:
        """The same model in its three formats."""
        return self.h5, self.keras, self.tflite
