"""What people are told when a run fails or is late. Lies in plugins/, which is on every component's path."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


def run_failed(context: dict[str, Any]) -> None:
    """Say which tasks of a run failed and where to look."""
    run = context["dag_run"]
    failed = [task.task_id for task in run.get_task_instances() if task.state == "failed"] if _has_tasks(run) else []
    log.error(
        "Run %s of %s failed%s. What was finished is kept: mend the cause that the task's log names, then clear the "
        "failed task. The model in service has not changed.",
        run.run_id,
        run.dag_id,
        f" in {', '.join(failed)}" if failed else "",
    )


def deadline_missed(**context: Any) -> None:
    """Say that a run takes longer than it ever should."""
    run = context.get("context", {}).get("dag_run", {})
    log.error(
        "Run %s is late: look at its running task's log. A first run on a large data set may need a larger deadline.",
        run.get("dag_run_id") or run.get("run_id") or "(unknown)",
    )


def _has_tasks(run: Any) -> bool:
    # In the scheduler the run is the database's; in a task process it is a plain record without its tasks.
    return hasattr(run, "get_task_instances")
