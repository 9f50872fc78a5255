"""A trained candidate: its folder and its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload

from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.registry import model_files
from skinlesion.registry.model_files import DISTANCE_FILE, LEARNT_FILE, RULE_FILE
from skinlesion.registry.training_record import TrainingRecord


class CandidateFile:
    """A file of a candidate: an attribute that is the file's path. description: what the file is, for the reference."""

    def __init__(self, name: str, description: str) -> None:
        self._name = name
        self.description = description

    @overload
    def __get__(self, candidate: None, owner: object) -> Self: ...

    @overload
    def __get__(self, candidate: Candidate, owner: object) -> Path: ...

    def __get__(self, candidate: Candidate | None, owner: object) -> Path | Self:
        return self if candidate is None else candidate.folder / self._name


@dataclass(frozen=True)
class Candidate:
    """The files of one candidate under models/candidates/<run>/."""

    folder: Path

    @property
    def run(self) -> str:
        """Name of the run: a hash of what the model depends on."""
        return self.folder.name

    h5 = CandidateFile(model_files.H5, "The trained model as the recipe's users know it.")
    keras = CandidateFile(model_files.KERAS, "The trained model in Keras's own format.")
    tflite = CandidateFile(model_files.TFLITE_OF_CANDIDATE, "The trained model as LiteRT runs it.")
    decision_rule = CandidateFile(RULE_FILE, "The thresholds of the model.")
    feature_distance = CandidateFile(
        DISTANCE_FILE,
        "What measures how unlike the training images an image is; missing if there were too few of them.",
    )
    learnt_pictures = CandidateFile(LEARNT_FILE, "Hashes of the pictures that it learnt from, without their names.")
    backup = CandidateFile("backup", "What an interrupted training continues from; removed when training is finished.")
    training = CandidateFile(
        model_files.TRAINING, "How the model was made; written last, so a candidate with it is complete."
    )
    registered = CandidateFile(model_files.REGISTERED, "The numbers under which it is registered.")
    trained_on = CandidateFile(
        model_files.TRAINED_ON, "Table of the originals that it learnt: on these it is never measured."
    )
    metrics = CandidateFile(model_files.METRICS, "What evaluate measured.")
    predictions = CandidateFile(model_files.PREDICTIONS, "The probabilities of the held-out images.")
    picture_statistics = CandidateFile(
        model_files.PICTURE_STATISTICS, "Measures of the held-out images: brightness, contrast, colours, size."
    )
    report = CandidateFile(model_files.REPORT, "The report for people.")
    gallery = CandidateFile(
        model_files.GALLERY, "The held-out images, where they are too many for the report; else missing."
    )
    model_card = CandidateFile(
        model_files.MODEL_CARD, "What the model is for, what it was made from and what it is worth, in Markdown."
    )
    data_report = CandidateFile(model_files.DATA_REPORT, "The report of the data it was trained and measured on.")

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

    def released(self, name: str) -> Path:
        """Return the path of a file by its name in a release."""
        return self.tflite if name == model_files.TFLITE else self.folder / name

    def verified(self, name: str, expected: str) -> bytes:
        """Return the content of a file, by its name in a release. Raises DataError if it is missing or has another SHA-256."""
        path = self.released(name)
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(f"{path} is missing. Restore the file, or train the version again.") from None
        if (found := sha256_of(content)) != expected:
            raise DataError(
                f"{path} was altered: its SHA-256 is {found}, expected {expected} as it was registered. Restore the file, or train "
                "the version again."
            )
        return content

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the files that make the model, by name."""
        files = [*self.models, self.decision_rule, self.feature_distance, self.learnt_pictures]
        return {path.name: sha256_of(path) for path in files if path.is_file()}

    @property
    def models(self) -> tuple[Path, Path, Path]:
        """The same model in its three formats."""
        return self.h5, self.keras, self.tflite
