"""Retrain the skin-lesion classifier: every night, and by hand with other settings."""

from __future__ import annotations

import logging
import os
import sys
from datetime import timedelta
from functools import partial
from typing import Any

import pendulum
from airflow.sdk import (
    Asset,
    CronTriggerTimetable,
    DeadlineAlert,
    DeadlineReference,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    SyncCallback,
    dag,
    get_current_context,
    task,
)

from skin_lesion_notices import deadline_missed, run_failed
from skinlesion.config import PipelineConfig
from skinlesion.errors import DataError

log = logging.getLogger(__name__)

CATALOG = Asset("skin_lesion_catalog", extra={"what": "one row an image: label, lesion, side of the split"})
CANDIDATE = Asset("skin_lesion_candidate", extra={"what": "a trained and evaluated model"})

RETRIES = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=DataError, action=RetryAction.FAIL, reason="the data or the settings are wrong"),
        RetryRule(exception=OSError, action=RetryAction.RETRY, reason="the disk or the network may recover"),
    ]
)

# A report is one XCom. Left to itself, Airflow makes one more of each key of a function that returns a dict.
report_task = partial(task, multiple_outputs=False)


def trigger_form() -> dict[str, Param]:
    """One field a setting: its type, bounds, title and help come from the settings model."""
    values = PipelineConfig.of({}).model_dump(mode="json")
    schema = PipelineConfig.model_json_schema()["properties"]
    unknown_to_the_form = ("default", "format")
    return {
        name: Param(values[name], **{key: value for key, value in field.items() if key not in unknown_to_the_form})
        for name, field in schema.items()
    }


def deadline() -> DeadlineAlert | None:
    """A run that is not done by the morning is worth a look.

    `airflow dags test` ends in an error for a DAG with a deadline (apache/airflow#73428), so it gets none there.
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=8), SyncCallback(deadline_missed))


def run_stage(stage: str, shard: str = "1/1") -> dict[str, Any]:
    """Run a stage with the run's parameters as settings; its report goes to XCom."""
    from skinlesion.pipeline import run_stage
    from skinlesion.shard import Shard

    context = get_current_context()
    settings = dict(context["params"])
    if context["dag_run"].run_type == "scheduled" and "SKINLESION_WARM_START" not in os.environ:
        settings["warm_start"] = True
    config = PipelineConfig.of(settings)
    index, count = map(int, shard.split("/"))
    report = run_stage(stage, config, Shard(index - 1, count) if count > 1 else None)
    log.info("%s", report)
    return report.as_dict()


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    params=trigger_form(),
    deadline=deadline(),
    on_failure_callback=run_failed,
    default_args={
        "owner": "skin-lesion-team",
        "pool": "default_pool",
        "retries": 3,
        "retry_policy": RETRIES,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "execution_timeout": timedelta(hours=2),
    },
    tags=["skin-lesion", "retraining"],
)
def skin_lesion_retrain() -> None:
    """### Retrain the skin-lesion classifier

    Picks up the images that have arrived, brings them to 224x224, augments the training part, sorts them by class,
    retrains a MobileNetV2 classifier, and measures it on lesions that it has never seen. Nothing is worked on twice: a
    night without new images takes seconds. *Research and education only: not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: the data or a parameter is wrong; it is not retried. Mend it, then clear the task.
    - Anything else (disk full, network) was retried with growing delays. When the cause is gone, clear the task: it goes
      on where it stopped; training goes on from its last finished epoch.
    - The model in service is replaced only by a run that finishes.

    **Owner.** skin-lesion-team. **Safe to clear** at any task, any number of times.
    """

    @task(outlets=[CATALOG], doc_md="Read labels and images into the catalog; decide the split. Returns the shards.")
    def ingest() -> list[str]:
        context = get_current_context()
        report = run_stage("ingest")
        context["ti"].xcom_push("report", report)  # tasks can be mapped over the return value alone
        context["outlet_events"][CATALOG].extra = {"data_version": report["data_version"]}
        count = context["params"]["shards"]
        return [f"{index}/{count}" for index in range(1, count + 1)]

    @report_task(map_index_template="shard {{ shard }}", doc_md="Bring every accepted original to 224x224 with OpenCV.")
    def resize(shard: str) -> dict[str, Any]:
        return run_stage("resize", shard)

    @report_task(map_index_template="shard {{ shard }}", doc_md="Make Augmentor's copies of the training images.")
    def augment(shard: str) -> dict[str, Any]:
        return run_stage("augment", shard)

    @report_task(doc_md="Link the images into benign/, malignant/, unknown/ and write the manifest.")
    def organize() -> dict[str, Any]:
        return run_stage("organize")

    @report_task(doc_md="Build the untrained model, models/skin_lesion_classifier.h5.")
    def build() -> dict[str, Any]:
        return run_stage("build")

    @report_task(map_index_template="shard {{ shard }}", doc_md="Run the frozen part once for each image.")
    def embed(shard: str) -> dict[str, Any]:
        return run_stage("embed", shard)

    @report_task(
        execution_timeout=timedelta(hours=6), doc_md="Train the head, then fine-tune; writes a candidate model."
    )
    def train() -> dict[str, Any]:
        return run_stage("train")

    @report_task(outlets=[CANDIDATE], doc_md="Measure the candidate on the held-out lesions; write the report.")
    def evaluate() -> dict[str, Any]:
        report = run_stage("evaluate")
        headline = ("run", "balanced_accuracy", "malignant_auroc", "report")
        get_current_context()["outlet_events"][CANDIDATE].extra = {name: report[name] for name in headline}
        return report

    shards = ingest()
    (
        shards
        >> resize.expand(shard=shards)
        >> augment.expand(shard=shards)
        >> organize()
        >> build()
        >> embed.expand(shard=shards)
        >> train()
        >> evaluate()
    )


skin_lesion_retrain()
