"""Predictions of a folder that several workers share: one model for all of them, chosen at the start, and one table."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import Stopwatch
from skinlesion.prediction.classifier import Prediction, classifier_of, model_file, predict
from skinlesion.prediction.folder import (
    BatchReport,
    TableBusy,
    count_images,
    image_files,
    made_by,
    predict_into,
    predict_shard,
    refused_beside,
)
from skinlesion.registry import in_service

log = logging.getLogger(__name__)

REFUSED_TOLD: Final = 20
"""Images that a log names; a file beside the table has them all."""


@dataclass(frozen=True)
class PredictionPlan:
    """What the shards of a run have in common; JSON-able.

    Attributes:
        images: the folder.
        count: how many images it had at the start.
        table: the file to write.
        model: the file to predict with: of a release, which a promotion in the middle leaves as it is.
        made_by: see `batch_prediction.made_by`.
        version: the model's number; None for one that was put there without the registry.
        started: seconds since 1970.
    """

    images: str
    count: int
    table: str
    model: str
    made_by: str
    version: int | None
    started: float

    def as_dict(self) -> dict[str, Any]:
        """Give it as XCom takes it."""
        return asdict(self)


def plan_prediction(config: DataSettings, images: str | None, name: str) -> PredictionPlan:
    """Choose the model in service for all shards, and the table: of this name, under predictions/ of the data set.

    Raises DataError when the folder is not named, is missing or has no image, the name is no table's, or no model is in
    service.
    """
    if not images:
        raise DataError("No images are named: expected a folder, such as dataset/images, in the parameter `images`.")
    if not re.fullmatch(layout.TABLE_OF_PREDICTIONS, name):
        raise DataError(
            f"Table {name!r}: expected a plain name ending in .csv or .parquet, of letters, digits, dots, dashes and "
            "underscores, without folders."
        )
    folder = PROJECT_ROOT / images
    count = count_images([folder])
    model = model_file(config.models)
    release = in_service.of_release(model.parent)
    return PredictionPlan(
        images=str(folder),
        count=count,
        table=str(layout.predictions(config.dataset) / name),
        model=str(model),
        made_by=made_by(model, config),
        version=None if release is None else release.version,
        started=time.time(),
    )


def predict_a_shard(plan: PredictionPlan, config: DataSettings, shard: Shard) -> dict[str, Any]:
    """Predict a shard's images into its journal, going on where a killed attempt stopped; give counts and rate."""
    watch = Stopwatch()
    count = sum(1 for _ in image_files([Path(plan.images)], shard))
    report = _written(plan, config, count, predict_shard, shard=shard)
    return {"shard": str(shard)} | _counts(plan, report, watch.seconds())


def merge_shards(plan: PredictionPlan, config: DataSettings) -> dict[str, Any]:
    """Write the table from the shards' journals, byte for byte as `skinlesion predict` would; give counts and rate.

    What they lack, an image that came in the meantime, is predicted here. Seconds count from the plan on.
    """
    report = _written(plan, config, plan.count, predict_into)
    table = Path(plan.table)
    return _counts(plan, report, time.time() - plan.started, predicted=report.images) | {
        "table": plan.table,
        "refused_list": str(refused_beside(table)) if report.refused else None,
    }


def _written(
    plan: PredictionPlan, config: DataSettings, count: int, write: Callable[..., BatchReport], **options: Any
) -> BatchReport:
    model = Path(plan.model)
    if not model.is_file() or made_by(model, config) != plan.made_by:
        raise DataError(
            f"{model} is not what it was when this run began: expected the same model for all its shards. Start another "
            "run, which takes the model that is in service now."
        )
    make_classifier = classifier_of(model)
    told = 0

    def tell(prediction: Prediction) -> None:
        nonlocal told
        told += 1
        if told <= REFUSED_TOLD:
            log.warning("refused %r: %s", str(prediction.file), prediction.refused)

    with progress("predict", count) as advance:
        try:
            return write(
                Path(plan.table),
                [Path(plan.images)],
                lambda files: predict(files, make_classifier, config),
                identity=plan.made_by,
                advance=advance,
                refused=tell,
                **options,
            )
        except TableBusy as error:
            # An attempt that Airflow has given up may still be at work: nothing to mend, a later retry finds it gone.
            raise OSError(str(error)) from None


def _counts(plan: PredictionPlan, report: BatchReport, seconds: float, predicted: int | None = None) -> dict[str, Any]:
    done, seconds = report.done if predicted is None else predicted, max(seconds, 0.001)
    return {
        "images": report.images,
        "done": report.done,
        "kept": report.kept,
        "refused": report.refused,
        "seconds": round(seconds, 3),
        "images_per_second": round(done / seconds, 1),
        "version": plan.version,
        "model": plan.model,
    }
