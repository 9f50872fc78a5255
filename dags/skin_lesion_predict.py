"""Predict a folder of any size with the model in service, over several workers."""

from __future__ import annotations

import logging
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from airflow.sdk import Param, dag, get_current_context, task

from skin_lesion_dag_settings import DAG_DEFAULTS, Report, deadline, report_task, trigger_form
from skin_lesion_parameters import require_known_parameters
from skinlesion.foundation.layout import TABLE_OF_PREDICTIONS
from skinlesion.foundation.shard import BUCKETS, Shard
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from skinlesion.prediction.shared import PredictionPlan

log = logging.getLogger(__name__)

SETTINGS: Final = ("models", "max_image_pixels", "min_image_side", "shards", "workers")
"""The settings that a prediction reads. The data set is not among them: the table goes under the installation's."""


def settings() -> PipelineConfig:
    """Return the settings that the run's parameters give."""
    params = get_current_context()["params"]
    return PipelineConfig.of({name: params[name] for name in SETTINGS})


def planned() -> PredictionPlan:
    """Return what the first task decided for all of them."""
    from skinlesion.prediction.shared import PredictionPlan

    return PredictionPlan(**get_current_context()["ti"].xcom_pull("plan", key="plan"))


@dag(
    schedule=None,
    max_active_tasks=BUCKETS,  # as many shards as there may be
    params={
        # Without a default nobody would be notified of a failed run: Airflow reads the parameters again for the callback.
        "images": Param(
            None,
            type=["string", "null"],
            minLength=1,
            title="Images",
            description="Folder of images, searched with its subfolders. A relative path starts at the project, for example "
            "dataset/images.",
            section="Prediction",
        ),
        "table": Param(
            "predictions.csv",
            type="string",
            pattern=TABLE_OF_PREDICTIONS,
            title="Table",
            description="Name ending in .csv or .parquet; it is written to predictions/ in the data set's folder and replaces an "
            "earlier table of this name.",
            section="Prediction",
        ),
        **trigger_form(SETTINGS),
    },
    deadline=deadline(hours=8),
    **DAG_DEFAULTS,
    tags=["skin-lesion", "prediction"],
)
def skin_lesion_predict() -> None:
    """### Predict a folder with the skin-lesion classifier in service

    Started by hand only. Writes what `skinlesion predict --output` writes, byte for byte, with the work shared by `shards`
    tasks: the table in predictions/ of the data set's folder, and beside it a list of the images that cannot be used,
    with reasons. All shards use the model that is in service at the start, whatever is promoted in the meantime.
    *Research and education only: not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: the folder or a parameter is wrong, or no model is in service; it is not retried. Correct it, then clear the
      task, or start another run.
    - Anything else (disk full, network) was retried with growing delays. When the cause is gone, clear the task: it
      continues where it stopped. An earlier table of the same name stays until the new one is whole.

    **Owner.** skin-lesion-team. **Safe to clear** at any task, any number of times. Once the table is written the shards'
    work is removed, and `merge` cleared alone predicts every image by itself: clear `plan` instead.
    """

    @task(doc_md="Choose the model for the whole run and count the images. Returns the shards.")
    def plan() -> list[str]:
        from skinlesion.prediction.shared import plan_prediction

        context = get_current_context()
        require_known_parameters(context)
        decided = plan_prediction(settings(), context["params"]["images"], context["params"]["table"])
        context["ti"].xcom_push("plan", decided.as_dict())  # tasks can be mapped over the return value alone
        return [str(shard) for shard in Shard.every(context["params"]["shards"])]

    @report_task(
        map_index_template="shard {{ shard }}",
        execution_timeout=timedelta(hours=6),
        doc_md="Predict the images of a shard; a later try continues where an earlier one stopped.",
    )
    def predict(shard: str) -> Report:
        from skinlesion.prediction.shared import predict_a_shard

        return with_host(predict_a_shard(planned(), settings(), Shard.of_text(shard)))

    @report_task(
        execution_timeout=timedelta(hours=6),
        doc_md="Merge the shards into the table, and list the images that cannot be used.",
    )
    def merge() -> Report:
        from skinlesion.prediction.shared import merge_shards

        return with_host(merge_shards(planned(), settings()))

    shards = plan()
    predict.expand(shard=shards) >> merge()


def with_host(report: Report) -> Report:
    """Log a report, and return it with the name of the machine that made it."""
    log.info("%s", report)
    return report | {"host": socket.gethostname()}


skin_lesion_predict()
