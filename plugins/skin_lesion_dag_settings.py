"""What this project's DAGs have in common. Lies in plugins/, which is on every component's path."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pendulum
from airflow.sdk import (  # type: ignore[attr-defined]  # Airflow's .pyi lacks what has to do with deadlines
    Asset,
    DeadlineAlert,
    DeadlineReference,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    SyncCallback,
    task,
)

from skin_lesion_notices import deadline_missed, run_failed
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import PipelineConfig

CATALOG: Final = Asset("skin_lesion_catalog", extra={"what": "one row an image: label, lesion, side of the split"})
CANDIDATE: Final = Asset("skin_lesion_candidate", extra={"what": "a trained and evaluated model"})

TASK_DEFAULTS: Final[dict[str, Any]] = {
    "owner": "skin-lesion-team",
    "pool": "default_pool",
    "retries": 3,
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(exception=DataError, action=RetryAction.FAIL, reason="the data or the settings are wrong"),
            RetryRule(exception=OSError, action=RetryAction.RETRY, reason="the disk or the network may recover"),
        ]
    ),
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=2),
}

DAG_DEFAULTS: Final[dict[str, Any]] = {
    "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
    "catchup": False,
    "max_active_runs": 1,
    "on_failure_callback": run_failed,
    "default_args": TASK_DEFAULTS,
}

ON_TRAINING_WORKER: Final[dict[str, Any]] = {
    "queue": "training",
    "pool": os.environ.get("SKIN_LESION_TRAINING_POOL", "default_pool"),
    "executor_config": {"pod_template_file": pod} if (pod := os.environ.get("SKIN_LESION_TRAINING_POD")) else None,
}
"""Training takes all cores that it is given and most of the memory: on Celery a worker of its own takes this queue, a pool
keeps a second training out, on Kubernetes it has a pod of its own kind. Where nobody has made a pool and named it in
SKIN_LESION_TRAINING_POOL, as the containers do, it is Airflow's own: a task of a pool that is not there never starts."""

# A report is one XCom. Left to itself, Airflow makes one more of each key of a function that returns a dict.
report_task = partial(task, multiple_outputs=False)


def trigger_form(names: Iterable[str]) -> dict[str, Param]:
    """One field a setting: its type, bounds, title and help come from the settings model."""
    values = PipelineConfig.of({}).model_dump(mode="json")
    schema = PipelineConfig.model_json_schema()["properties"]
    unknown_to_the_form = ("default", "format")
    # The help names values in backquotes, which the form lays out where it is said to be Markdown.
    as_the_form_has_it = {"description": "description_md"}
    return {
        name: Param(
            values[name],
            **{
                as_the_form_has_it.get(key, key): value
                for key, value in schema[name].items()
                if key not in unknown_to_the_form
            },
        )
        for name in names
    }


def deadline(hours: float) -> DeadlineAlert | None:
    """A run that is not done by then is worth a look.

    `airflow dags test` ends in an error for a DAG with a deadline (apache/airflow#73428), so it gets none there.
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=hours), SyncCallback(deadline_missed))
