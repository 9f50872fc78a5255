"""What people are told when a run fails or is late. Lies in plugins/, which is on every component's path."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)


def run_failed(context: Mapping[str, Any]) -> None:
    """Say which run failed, where, and what to do.

    The DAG processor calls it with the context of the task that failed last, or with `dag`, `run_id` and `reason` alone
    where there is none. Reasons: `task_failure`, `timed_out`, `all_tasks_deadlocked`.
    """
    run, task_id = context.get("dag_run"), getattr(context.get("ti"), "task_id", None)
    log.error(
        "Run %s of %s failed%s%s. What was finished is kept: mend the cause that the task's log names, then clear the "
        "failed task. The model in service has not changed.",
        context.get("run_id") or getattr(run, "run_id", "(unknown)"),
        getattr(context.get("dag") or run, "dag_id", "(unknown)"),
        f" in {task_id}" if task_id else "",
        f" ({context['reason']})" if context.get("reason") else "",
    )


def deadline_missed(context: Mapping[str, Any] | None = None) -> None:
    """Say that a run takes longer than it ever should.

    A process of the executor calls it with `context={"dag_run": ..., "deadline": ...}`: the run as the REST API gives it.
    """
    run = (context or {}).get("dag_run") or {}
    log.error(
        "Run %s of %s is late: look at its running task's log. A first run on a large data set may need a larger "
        "deadline.",
        run.get("dag_run_id", "(unknown)"),
        run.get("dag_id", "(unknown)"),
    )
