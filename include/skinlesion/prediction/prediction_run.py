"""One run of predictions over folders: the model is chosen at its start, and all its shards use that model."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import LARGEST_RECORD
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import Stopwatch
from skinlesion.network.litert import LARGEST_MODEL
from skinlesion.prediction.classifier import Prediction, classifier_of, model_file, predict
from skinlesion.prediction.folder import Predict, PredictionCounts, predict_into, predict_shard, refused_beside
from skinlesion.prediction.image_files import count_images
from skinlesion.registry import in_service
from skinlesion.registry.model_files import LEARNT_FILE, RULE_FILE

log = logging.getLogger(__name__)

REFUSED_SHOWN: Final = 20
"""Number of refused images that are shown while a run works; a file beside the table has all of them."""

Show = Callable[[Prediction], None]


def _log_refused(prediction: Prediction) -> None:
    log.warning("refused %r: %s", str(prediction.file), prediction.refused)


class PredictionReport(PredictionCounts):
    """What a task of a run did: the shard (1/1 for the whole), its counts, and how long it took.

    `seconds` and rate of the task that wrote the table count from the start of the run. `version` is None for a model that was
    named by its file, `table` for a shard, and `refused_list` for a shard or without refused images.
    """

    shard: str
    seconds: float
    images_per_second: float
    version: int | None
    model: Path
    table: Path | None = None
    refused_list: Path | None = None


class PredictionRun(BaseModel):
    """What all shards of a run have in common; goes from task to task as JSON.

    `made_by` is that of the model file, so that each task can refuse another model. The files of a release stay as they are
    when another version is promoted. `version` is None for a model that was named by its file. `started` is seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    images: tuple[Path, ...]
    table: Path
    model: Path
    made_by: str
    version: int | None
    started: float

    @classmethod
    def start(cls, config: DataSettings, images: list[Path], table: Path, model: Path | None = None) -> PredictionRun:
        """Return a run with the model in service, or with another model file.

        Raises DataError if a path is missing, there is no image, or there is no model.
        """
        count_images(images)
        model = model or model_file(config.models)
        release = in_service.of_file(model)
        return cls(
            images=tuple(images),
            table=table,
            model=model,
            made_by=made_by(model, config),
            version=None if release is None else release.version,
            started=time.time(),
        )

    def require_allowed(self, config: DataSettings) -> None:
        """Raise DataError unless all paths of a run that came from another task are where `run_into_dataset` puts them."""
        for images in self.images:
            _require_within(images, config.folders_to_predict())
        _require_within(self.model, [config.models])
        if self.table != _table(config, self.table.name):
            raise DataError(f"Table {self.table}: expected a file in {layout.predictions(config.dataset)}.")

    def predict_shard(self, config: DataSettings, shard: Shard, show: Show = _log_refused) -> PredictionReport:
        """Predict the images of a shard that have no answer yet; show the first refused ones.

        Raises:
            DataError: the model is not what it was at the start of the run.
            DatasetBusy: another process, such as a task that Airflow gave up, is still at this shard.
        """
        watch = Stopwatch()
        counts = predict_shard(self.table, self.images, self._model(config, show), shard=shard, identity=self.made_by)
        return self._report(shard, counts, counts.done, watch.seconds())

    def write_table(self, config: DataSettings, show: Show = _log_refused) -> PredictionReport:
        """Predict what no shard has predicted, and write the table. Parameters and errors are those of `predict_shard`."""
        counts = predict_into(self.table, self.images, self._model(config, show), identity=self.made_by)
        report = self._report(WHOLE, counts, counts.images, time.time() - self.started)
        refused_list = refused_beside(self.table) if counts.refused else None
        return report.model_copy(update={"table": self.table, "refused_list": refused_list})

    def _model(self, config: DataSettings, show: Show) -> Predict:
        if not self.model.is_file() or made_by(self.model, config) != self.made_by:
            raise DataError(
                f"{self.model} is not what it was when this run began: expected the same model for all its shards. Start "
                "another run, which takes the model that is in service now."
            )
        make_classifier = classifier_of(self.model)

        def model(files: Iterable[Path]) -> Iterator[Prediction]:
            refused = 0
            for prediction in predict(files, make_classifier, config):
                refused += bool(prediction.refused)
                if prediction.refused and refused <= REFUSED_SHOWN:
                    show(prediction)
                yield prediction

        return model

    def _report(self, shard: Shard, counts: PredictionCounts, predicted: int, seconds: float) -> PredictionReport:
        return PredictionReport(
            shard=str(shard),
            **dict(counts),
            seconds=round(seconds, 3),
            images_per_second=round(predicted / max(seconds, 0.001), 1),
            version=self.version,
            model=self.model,
        )


def run_into_dataset(config: DataSettings, images: str | None, name: str) -> PredictionRun:
    """Return a run that writes a table of this name to the folder `predictions` of the data set.

    Raises DataError if the folder of images is not named, is none of the installation's, is missing or has no image, if the
    name leads out of the folder, or if no model is in service.
    """
    if not images:
        raise DataError("No images are named: expected a folder, such as dataset/images, in the parameter `images`.")
    folder = PROJECT_ROOT / images
    _require_within(folder, config.folders_to_predict())
    return PredictionRun.start(config, [folder], _table(config, name))


def _require_within(path: Path, folders: list[Path]) -> None:
    """Raise DataError unless a path is in one of these folders. Links in them are their owner's, and are followed."""
    if not re.fullmatch(layout.FOLDER_OF_IMAGES, str(path)):
        raise DataError(f"{str(path)!r} leads upwards or has a control character: expected a plain path.")
    if not any(path.is_relative_to(os.path.normpath(folder)) for folder in folders):
        raise DataError(
            f"{path} is no place of this installation: expected a folder within {', '.join(map(str, folders))}. Put the images "
            "there, or have the folder named in SKINLESION_PREDICTION_FOLDERS, which the installation sets."
        )


def _table(config: DataSettings, name: str) -> Path:
    if not re.fullmatch(layout.TABLE_OF_PREDICTIONS, name):
        raise DataError(
            f"Table {name!r}: expected a plain name ending in .csv or .parquet, of letters, digits, dots, dashes and "
            "underscores, without folders."
        )
    return layout.predictions(config.dataset) / name


def made_by(model: Path, config: DataSettings) -> str:
    """Return a hash of what a model's answers depend on: its file, the decision rule and the hashes beside it, and the settings."""
    try:
        digest = hashlib.sha256(read_file(model, most=LARGEST_MODEL))
    except OSError as error:
        raise DataError(f"{model}: {reason_of(error)}. Expected a trained classifier.") from None
    for beside in (model.with_name(RULE_FILE), model.with_name(LEARNT_FILE)):
        if beside.is_file():
            digest.update(read_file(beside, most=LARGEST_RECORD))
    digest.update(json.dumps([config.max_image_pixels, config.min_image_side]).encode())
    return digest.hexdigest()
