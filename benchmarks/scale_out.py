"""What a second worker gains: the stages that are spread over shards, on Celery workers of one CPU each, in containers.

python -m benchmarks.scale_out FOLDER --weights FILE [--images N] [--repeat N]

FOLDER is a data set (images/ and diagnoses.csv). Needs Docker, as `make test-docker` does.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.container_stack import Stack
from benchmarks.datasets import part_of

log = logging.getLogger(__name__)

DAG = "skin_lesion_retrain"
STAGES = ("resize", "augment", "embed")
WORKERS = (1, 2)
SHARDS = 4  # each as long as the others: two a worker where there are two


def scale_out(source: Path, weights: Path, images: int, repeat: int) -> dict[str, Any]:
    """Measure fresh data sets, with one worker and with two by turns; give seconds and the median's ratio."""
    seconds: dict[int, list[dict[str, float]]] = {count: [] for count in WORKERS}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        part = Path(name) / "dataset"
        count = part_of(source, part, images)
        stack = Stack.cloned(Path(name) / "clone", weights)
        with (stack.folder / ".env").open("a") as settings:
            settings.write("WORKER_CPUS=1\nTRAINING_CPUS=1\n")
        (stack.folder / "settings.env").write_text("SKINLESION_DATASET=dataset/turn\nSKINLESION_MODELS=models/turn\n")
        try:
            stack.up(workers=max(WORKERS))
            # Training would be under way still when the next measurement begins.
            stack.compose("stop", "training-worker")
            stack.unpause()
            containers = [container["Id"] for container in stack.containers("worker")]
            for turn in range(repeat):
                for workers in WORKERS if turn % 2 == 0 else reversed(WORKERS):
                    _leave_running(stack, containers, workers)
                    seconds[workers].append(_measured(stack, part))
        finally:
            stack.remove()
    totals = {workers: statistics.median(sum(one.values()) for one in runs) for workers, runs in seconds.items()}
    return {
        "images": count,
        "seconds": seconds,
        "median_total": totals,
        "times_faster": round(totals[WORKERS[0]] / totals[WORKERS[1]], 2),
    }


def _leave_running(stack: Stack, containers: list[str], workers: int) -> None:
    """Start or stop workers until so many run, and wait for those that start."""
    for index, container in enumerate(containers):
        stack.run("docker", "start" if index < workers else "stop", container)
    for container in containers[:workers]:
        stack.run("docker", "exec", container, "sh", "-c", "until healthy; do sleep 1; done")


def _measured(stack: Stack, source: Path) -> dict[str, float]:
    """Run the stages up to embed on a fresh copy of the data set; give the seconds from each one's first start to its last end."""
    packed = ["tar", "-C", str(source), "-chf", "-", "."]
    unpacked = "rm -rf dataset/turn models/turn && mkdir dataset/turn && tar -xf - -C dataset/turn"
    with subprocess.Popen(packed, stdout=subprocess.PIPE) as sent:
        command = ["tools/compose.sh", "exec", "-T", "scheduler", "sh", "-c", unpacked]
        subprocess.run(command, cwd=stack.folder, stdin=sent.stdout, check=True)
    run = stack.trigger(shards=SHARDS)
    stack.wait_for_task(run, "train", ("running", "queued"), seconds=3600, every=15)
    stack.api("PATCH", f"/dags/{DAG}/dagRuns/{run}", state="failed")
    tasks = stack.tasks(run)
    for task in tasks:
        if task["task_id"] in STAGES:
            log.info(
                "%s %s %s: %s to %s",
                task["task_id"],
                task["map_index"],
                task["hostname"],
                task["start_date"],
                task["end_date"],
            )
    return {stage: _span([task for task in tasks if task["task_id"] == stage]) for stage in STAGES}


def _span(tasks: list[dict[str, Any]]) -> float:
    if len(tasks) != SHARDS or any(task["state"] != "success" or task["try_number"] != 1 for task in tasks):
        raise RuntimeError(f"expected {SHARDS} tasks done on their first try, got {tasks}")
    starts, ends = ([datetime.fromisoformat(task[key]) for task in tasks] for key in ("start_date", "end_date"))
    return round((max(ends) - min(starts)).total_seconds(), 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000, help="how many of them; 0: all")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(message)s")
    logging.getLogger("httpx").setLevel("WARNING")
    result = scale_out(given.folder, given.weights.resolve(), given.images, given.repeat)
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
