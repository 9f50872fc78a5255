"""Predict a folder of any size with the model in service, over several workers."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from airflow.sdk import Param, dag, get_current_context, task
from pydantic import JsonValue

from skin_lesion_dag_settings import DAG_DEFAULTS, deadline, report_task, trigger_form
from skin_lesion_parameters import known_parameters
from skinlesion.foundation.layout import FOLDER_OF_IMAGES, TABLE_OF_PREDICTIONS
from skinlesion.foundation.shard import BUCKETS, Shard
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from skinlesion.prediction.prediction_run import PredictionReport, PredictionRun

log = logging.getLogger("skin_lesion_predict")  # not the name that Airflow gives the module

SETTINGS: Final = ("max_image_pixels", "min_image_side", "shards", "workers")
"""The settings that a prediction reads. The folders are the installation's."""


def settings() -> PipelineConfig:
    """Return the settings of this run."""
    params = known_parameters(get_current_context())
    return PipelineConfig.of({name: params[name] for name in SETTINGS})


def planned() -> PredictionRun:
    """Return what the first task decided for all tasks, with paths of this installation."""
    from skinlesion.prediction.prediction_run import PredictionRun

    config = settings()
    run = PredictionRun.model_validate(get_current_context()["ti"].xcom_pull("plan", key="plan"))
    run.require_allowed(config)
    return run


@dag(
    schedule=None,
    is_paused_upon_creation=False,  # it runs by hand alone
    max_active_tasks=BUCKETS,  # as many shards as there may be
    params={
        # Without a default the notice of a failed run could not be sent: Airflow reads the parameters anew for it.
        "images": Param(
            None,
            type=["string", "null"],
            pattern=FOLDER_OF_IMAGES,
            title="Images",
            description="Folder of images, searched with its subfolders, within the data set's folder or another one that the "
            "installation names. A relative path starts at the project, for example dataset/images.",
        ),
        "table": Param(
            "predictions.csv",
            type="string",
            pattern=TABLE_OF_PREDICTIONS,
            title="Table",
            description="Name ending in .csv or .parquet; it is written to predictions/ in the data set's folder and replaces an "
            "earlier table of this name.",
        ),
        **trigger_form(SETTINGS),
    },
    deadline=deadline(hours=8),
    **DAG_DEFAULTS,
    tags=["skin-lesion", "prediction"],
)
def skin_lesion_predict() -> None:
    """### Predict a folder with the skin-lesion classifier in service

    By hand only. Writes what `skinlesion predict --output` writes, byte for byte, shared by `shards` tasks: the table in
    predictions/ of the data set's folder, and beside it a list of the images that cannot be used, with reasons. All
    shards use the model that is in service at the start, whatever is promoted in the meantime. *Research and education only:
    not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: the folder or a parameter is wrong, or no model is in service; it is not retried. Correct it, then clear the
      task, or start another run.
    - Anything else (disk full, network) was retried with growing delays. When the cause is gone, clear the task: it
      continues where it stopped. An earlier table of the same name stays until the new one is whole.

    **Owner.** skin-lesion-team. **Safe to clear** at any task, any number of times; once the table is written the shards'
    answers are gone, and `merge` cleared alone predicts every image by itself: clear `plan` instead.
    """

    @task(doc_md="Choose the model for the whole run and count the images. Returns the shards.")
    def plan() -> list[str]:
        from skinlesion.prediction.prediction_run import run_into_dataset

        context = get_current_context()
        run = run_into_dataset(settings(), context["params"]["images"], context["params"]["table"])
        # A key of its own, since tasks can be mapped over the return value alone.
        context["ti"].xcom_push("plan", run.model_dump(mode="json"))
        return [str(shard) for shard in Shard.every(context["params"]["shards"])]

    @report_task(
        map_index_template="shard {{ shard }}",
        execution_timeout=timedelta(hours=6),
        doc_md="Predict the images of a shard, from where an earlier try stopped.",
    )
    def predict(shard: str) -> dict[str, JsonValue]:
        return logged(planned().predict_shard(settings(), Shard.of_text(shard)))

    @report_task(
        execution_timeout=timedelta(hours=6),
        doc_md="Write the table from the answers of all shards, and list the images that cannot be used.",
    )
    def merge() -> dict[str, JsonValue]:
        return logged(planned().write_table(settings()))

    shards = plan()
    predict.expand(shard=shards) >> merge()


def logged(report: PredictionReport) -> dict[str, JsonValue]:
    """Log a report and return it with the name of this machine."""
    log.info("%s", report)
    return report.model_dump(mode="json") | {"host": socket.gethostname()}


skin_lesion_predict()
