"""What this project's DAGs have in common. The module is in plugins/, which is on every component's path."""

from __future__ import annotations

import os
import re
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
    Param,
    RetryAction,
    RetryRule,
    SyncCallback,
    task,
)
from pydantic import JsonValue

from skin_lesion_failure import RememberingPolicy, hide_secrets, hide_tracebacks, say_why
from skin_lesion_notices import deadline_missed, run_failed
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import ADDED_LATER, IN_FORM, MAKES_STALE
from skinlesion.network.settings import NAMED_WEIGHTS
from skinlesion.stages.settings import SECTION_OF, PipelineConfig

CATALOG: Final = Asset("skin_lesion_catalog", extra={"what": "one row an image: label, lesion, side of the split"})
CANDIDATE: Final = Asset("skin_lesion_candidate", extra={"what": "a trained and evaluated model"})

TASK_DEFAULTS: Final[dict[str, Any]] = {
    "owner": "skin-lesion-team",
    "pool": "default_pool",
    "retries": 3,
    "retry_policy": RememberingPolicy(
        rules=[
            RetryRule(exception=DataError, action=RetryAction.FAIL, reason="the data or the settings are wrong"),
            RetryRule(exception=OSError, action=RetryAction.RETRY, reason="the disk or the network may recover"),
        ]
    ),
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=2),
    "on_execute_callback": [hide_secrets, hide_tracebacks],
    "on_retry_callback": say_why,
    "on_failure_callback": say_why,
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
"""Training takes all the cores that it may use and most of the memory. On Celery a worker of its own serves this queue and a
pool keeps a second training out; on Kubernetes it has a pod of its own kind. Without a pool named in
SKIN_LESION_TRAINING_POOL, as the containers have one, it runs in Airflow's default pool: a task of a pool that does not exist
never starts."""

Report = dict[str, JsonValue]
"""What a task returns, plain JSON in one XCom."""

# A report is one XCom. By default Airflow makes one more of each key of a function that returns a dict.
report_task = partial(task, multiple_outputs=False)


FIRST: Final = (
    "weights", "fine_tune", "epochs", "copies", "target_sensitivity", "coverage", "warm_start", "shards",
    "accept_data_changes", "force", "require_approval", "gate_min_auroc", "gate_min_sensitivity",
)  # fmt: skip
"""The settings that people change, in the order in which a form asks for them, of whatever part of the run they are."""

ADVANCED: Final = "Advanced: "
"""How the sections of the settings that few people change begin: the form shows them closed."""


def trigger_form(names: Iterable[str]) -> dict[str, Param]:
    """Return one field for each of the settings that belong in a form, the first ones first and the rest by section.

    A field has the type, bounds, title and help of the settings' classes. Of files of weights it offers the installation's.
    """
    values = PipelineConfig.of({}).model_dump(mode="json")
    schema = PipelineConfig.model_json_schema()["properties"]
    wanted = {name for name in names if schema[name][IN_FORM]}
    rest = [name for name in SECTION_OF if name not in FIRST]
    unknown_to_the_form = ("default", "format", MAKES_STALE, ADDED_LATER, IN_FORM)
    fields: dict[str, Param] = {}
    for name in (*FIRST, *rest):
        if name in wanted:
            form: dict[str, Any] = {key: value for key, value in schema[name].items() if key not in unknown_to_the_form}
            # The form shows code in boxes that cover the lines above and below.
            form["description"] = re.sub("`([^`]*)`", r"“\1”", form["description"])
            if name == "weights":
                form["enum"] = list(dict.fromkeys((*NAMED_WEIGHTS, values[name])))
            if name not in FIRST:
                form["section"] = f"{ADVANCED}{SECTION_OF[name]}"
            fields[name] = Param(values[name], **form)
    return fields


def deadline(hours: float) -> DeadlineAlert | None:
    """Return an alert that notifies people of a run that is not done by then.

    `airflow dags test` fails for a DAG with a deadline (apache/airflow#73428), so there it is None.
    """
    if sys.argv[1:3] == ["dags", "test"]:
        return None
    return DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=hours), SyncCallback(deadline_missed))
