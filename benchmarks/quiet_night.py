"""What Airflow adds to a night in which nothing is new: `python -m benchmarks.quiet_night --nights 5`.

A real `airflow standalone` (scheduler, LocalExecutor, SQLite) lives through a first night with drawn lesions, then through
nights with nothing new. Each is triggered over the REST API; the seconds are Airflow's own record of the run and of its tasks.
The data set is small, so a quiet night's stages take next to nothing and the whole run is what Airflow costs.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from tests.plugins.standalone_airflow import RETRAIN, Airflow, running


def measure(nights: Annotated[int, typer.Option(help="Quiet nights, one after the other.")] = 5) -> None:
    """Print for each quiet night the seconds from queued to done, of which its one task that runs took how many."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, running(Path(folder)) as airflow:
        airflow.settle()
        _run(airflow)  # a run by hand has other settings than the scheduled one before: it trains once more
        airflow.settle()
        measured = [_night(airflow) for _ in range(nights)]
    for number, (whole, task, skipped) in enumerate(measured, 1):
        sys.stdout.write(f"night {number}: {whole:.2f} s, collect {task:.2f} s, {skipped} tasks skipped\n")
    wholes = [whole for whole, _, _ in measured]
    sys.stdout.write(f"median {statistics.median(wholes):.2f} s, longest {max(wholes):.2f} s\n")


def _run(airflow: Airflow) -> str:
    name = airflow.trigger(RETRAIN)
    airflow.ended(RETRAIN, name)
    return name


def _night(airflow: Airflow) -> tuple[float, float, int]:
    """Run a night; return its seconds, those of `collect`, and how many tasks were skipped."""
    name = _run(airflow)
    with airflow.client() as client:
        where = f"/api/v2/dags/{RETRAIN}/dagRuns/{name}"
        run = client.get(where).json()
        tasks = client.get(f"{where}/taskInstances").json()["task_instances"]
    collect = next(task for task in tasks if task["task_id"] == "collect")
    skipped = sum(task["state"] == "skipped" for task in tasks)
    if run["state"] != "success" or skipped != len(tasks) - 1:
        raise RuntimeError(f"The night was not quiet: {airflow.tasks(RETRAIN, name)}")
    return _seconds(run["queued_at"], run["end_date"]), _seconds(collect["start_date"], collect["end_date"]), skipped


def _seconds(begin: Any, end: Any) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


if __name__ == "__main__":
    typer.run(measure)
