"""How a candidate was made: training.json, which train writes last of a candidate's files."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, JsonValue

from skinlesion.data.split_version import SplitVersion
from skinlesion.foundation.record import Record, RecordPart


class Origin(RecordPart):
    """What two trainings must share for one to go on from the other.

    Attributes:
        training_version: number of the training code; it counts up when training gives another result.
        settings: fingerprint of the settings of training.
        built: key of the built model.
    """

    training_version: int
    settings: str
    built: str


class WarmStartRecord(RecordPart):
    """What a warm start went on from.

    Attributes:
        champion: name of the candidate whose weights it began with; the file calls it `from`.
        new_images: number of images that came since the last training from the built model.
        nights: number of warm starts since then, this one included.
    """

    champion: str = Field(validation_alias="from", serialization_alias="from")
    new_images: int
    nights: int


class InnerFold(RecordPart):
    """Size of the inner fold, which early stopping and calibration use."""

    images: int
    lesions: int


class TrainingRecord(Record):
    """How a candidate was made.

    Attributes:
        run: name of the candidate.
        origin: what another training must share to go on from this one.
        warm_start: what it went on from itself; None if it began with the built model.
        settings: the settings by name, without folders and numbers of workers.
        training_version: names the training images.
        split: the split that chose them.
        trained_on: SHA-256 of the table of those images.
        weights_key: names the backbone's weights before training.
        classes: names of the classes in the order of the model's outputs.
        images, lesions: number of training images (without copies) and of their lesions.
        inner_fold: how many of them the inner fold held.
        class_weights: weight of each class in the loss.
        history: what was measured after each epoch, by name.
        warnings: sentences that a reader of the result must know.
        packages: version of each package that decides the result.
        git_revision: of the code.
        sha256: of each file that makes the model, by name.
    """

    remedy: ClassVar[str] = "Restore it, or remove the folder that holds it and run train again."

    run: str
    origin: Origin
    warm_start: WarmStartRecord | None
    settings: dict[str, JsonValue]
    training_version: str
    split: SplitVersion | None
    trained_on: str
    weights_key: str
    classes: tuple[str, ...]
    images: int
    lesions: int
    inner_fold: InnerFold
    class_weights: dict[str, float]
    history: tuple[dict[str, JsonValue], ...]
    warnings: tuple[str, ...]
    packages: dict[str, str]
    git_revision: str
    sha256: dict[str, str]
