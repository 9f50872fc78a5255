"""Retrain the skin-lesion classifier: every night, and by hand with other settings."""

from __future__ import annotations

import logging
import os
import socket
from datetime import timedelta

from airflow.sdk import CronTriggerTimetable, dag, get_current_context, task

from skin_lesion_dag_settings import (
    CANDIDATE,
    CATALOG,
    DAG_DEFAULTS,
    ON_TRAINING_WORKER,
    Report,
    deadline,
    report_task,
    trigger_form,
)
from skin_lesion_failure import NOTHING_NEW, QUIET
from skin_lesion_parameters import known_parameters
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.foundation.shard import BUCKETS, WHOLE, Shard
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger("skin_lesion_retrain")  # not the name that Airflow gives the module


NOT_ITS = {*PromotionSettings.own_fields(), *MonitorSettings.own_fields()}
"""Settings of the other DAGs."""


def run_stage(stage: str, shard: str = str(WHOLE), **options: bool) -> Report:
    """Run a stage with the run's parameters as settings; return its report and the name of the machine that ran it."""
    from skinlesion.stages.pipeline import run_stage
    from skinlesion.stages.sentences import sentence

    part = Shard.of_text(shard)
    report = run_stage(stage, settings_of_run(), None if part == WHOLE else part, **options)
    log.info("%s", sentence(report))
    return report.as_dict() | {"host": socket.gethostname()}


def settings_of_run() -> PipelineConfig:
    """Return the run's parameters as settings; a scheduled night goes on from the model in service."""
    context = get_current_context()
    settings = known_parameters(context)
    if context["dag_run"].run_type == "scheduled" and "SKINLESION_WARM_START" not in os.environ:
        settings["warm_start"] = True
    return PipelineConfig.of(settings)


def is_nothing_new() -> bool:
    """Return whether the night has nothing to do. Where that cannot be seen, it does its work."""
    from skinlesion.stages.pipeline import nothing_new

    try:
        return nothing_new(settings_of_run())
    except Exception as error:  # whatever it is, the stages meet it themselves
        log.warning("Whether anything is new could not be seen (%s: %s): every stage runs", type(error).__name__, error)
        return False


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
    max_active_tasks=BUCKETS,  # as many shards as there may be
    params=trigger_form(name for name in PipelineConfig.model_fields if name not in NOT_ITS),
    deadline=deadline(hours=8),
    **DAG_DEFAULTS,
    tags=["skin-lesion", "retraining"],
)
def skin_lesion_retrain() -> None:
    """### Retrain the skin-lesion classifier

    Collects the images that have arrived, resizes them to 224x224, augments the training part, sorts them by class,
    retrains a MobileNetV2 classifier, and measures it on lesions that it has never seen. Finished work is not repeated:
    where one look shows that nothing is new, `collect` is all that runs, and the run's note says so. *Research and education only: not a medical device.*

    **When a task fails.** Its log ends with one sentence that says what was expected, what was found and what to do.
    - `DataError`: the data or a parameter is wrong; it is not retried. Correct it, then clear the task; or clear `collect`
      if the correction comes from a source.
    - Anything else (disk full, network) was retried with growing delays. When the cause is gone, clear the task: it
      continues where it stopped, training from its last finished epoch.
    - The model in service is not touched: the candidate that a finished run leaves is judged by `skin_lesion_promote`.

    **Owner.** skin-lesion-team. **Safe to clear** at any task, any number of times.
    """

    @task.short_circuit(
        doc_md="Copy new images and labels of the sources into the data set; check the label tables. Returns the shards; "
        "none where one look shows that nothing is new, and then all other tasks are skipped."
    )
    def collect() -> list[str]:
        report, context = run_stage("collect"), get_current_context()
        context["ti"].xcom_push("report", report)  # tasks can be mapped over the return value alone
        if is_nothing_new():
            context["ti"].xcom_push(QUIET, NOTHING_NEW)
            log.info("%s", NOTHING_NEW)
            return []
        return [str(shard) for shard in Shard.every(context["params"]["shards"])]

    @report_task(map_index_template="shard {{ shard }}", doc_md="Read, hash and decode each image file that is new.")
    def examine(shard: str) -> Report:
        return run_stage("examine", shard)

    @report_task(outlets=[CATALOG], doc_md="Join labels and images into the catalog; decide the split.")
    def ingest() -> Report:
        report = run_stage("ingest", prepared=True)
        get_current_context()["outlet_events"][CATALOG].extra = {"data_version": report["data_version"]}
        return report

    @report_task(
        map_index_template="shard {{ shard }}", doc_md="Resize every accepted original to 224x224 with OpenCV."
    )
    def resize(shard: str) -> Report:
        return run_stage("resize", shard)

    @report_task(map_index_template="shard {{ shard }}", doc_md="Make Augmentor's copies of the training images.")
    def augment(shard: str) -> Report:
        return run_stage("augment", shard)

    @report_task(doc_md="Link the images into benign/, malignant/, unknown/ and write the manifest.")
    def organize() -> Report:
        return run_stage("organize")

    @report_task(doc_md="Build the untrained model, models/skin_lesion_classifier.h5.")
    def build() -> Report:
        return run_stage("build")

    @report_task(map_index_template="shard {{ shard }}", doc_md="Run the frozen part once for each image.")
    def embed(shard: str) -> Report:
        return run_stage("embed", shard)

    @report_task(
        **ON_TRAINING_WORKER,
        execution_timeout=timedelta(hours=6),
        doc_md="Train the head, then fine-tune; writes a candidate model.",
    )
    def train() -> Report:
        return run_stage("train")

    @report_task(outlets=[CANDIDATE], doc_md="Measure the candidate on the held-out lesions; write the report.")
    def evaluate() -> Report:
        report = run_stage("evaluate")
        headline = ("run", "version", "report")
        get_current_context()["outlet_events"][CANDIDATE].extra = {name: report[name] for name in headline}
        return report

    @report_task(
        doc_md="Make the queue of images that people should look at; the setting `review_queue` switches it off."
    )
    def review() -> Report:
        return run_stage("review")

    shards = collect()
    (
        shards
        >> examine.expand(shard=shards)
        >> ingest()
        >> resize.expand(shard=shards)
        >> augment.expand(shard=shards)
        >> organize()
        >> build()
        >> embed.expand(shard=shards)
        >> train()
        >> evaluate()
        >> review()
    )


skin_lesion_retrain()
