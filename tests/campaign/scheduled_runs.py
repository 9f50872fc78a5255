"""`python -m tests.campaign.scheduled_runs --kills 30`: nights under a real scheduler, with processes killed at random moments.

`airflow standalone` runs both DAGs as they are, with its scheduler, LocalExecutor and retries. What is killed is the process of
a task, or all of Airflow at once, which is started again. The processes of the executor are left alone: one that is killed while
it waits for a task keeps the lock of the queue, and Airflow 3.3.2 then starts no task until it is restarted. The data set
changes from night to night, and the auditor looks after each kill and each night.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import psutil
from tests.campaign.campaign import MEMORY, commit
from tests.campaign.data_set import DataSet
from tests.campaign.real_runs import Watched, asked_for
from tests.campaign.story import SETTINGS, story
from tests.plugins.standalone_airflow import PROMOTE, RETRAIN, Airflow, running

OURS: Final = {name.upper(): str(value) for name, value in SETTINGS.items()} | {
    "REQUIRE_APPROVAL": "false",
    "MAX_CLASS_SHIFT": "1",
}
AIRFLOWS: Final = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
}
"""A task whose scheduler has gone is missed after five minutes otherwise."""
EXECUTOR: Final = "airflow worker -- LocalExecutor:"
TASK: Final = "airflow worker -- "
TARGETS: Final = ("task", "task", "airflow")
STAGES: Final = ("ingest", "organize", "train", "evaluate")
KILLS_A_NIGHT: Final = 3


class ScheduledRuns(Watched):
    """A data set, and an Airflow that lives through its nights while its processes are killed."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder)
        self.dice = random.Random(f"scheduled {seed}")
        self.kills = dict.fromkeys(TARGETS, 0)
        self.nights: list[str] = []
        self.longest = 30.0
        self._running = ExitStack()
        self.airflow = self._start()

    def _start(self) -> Airflow:
        return self._running.enter_context(running(self.folder, OURS, **AIRFLOWS))

    def end(self) -> None:
        """End Airflow."""
        self._running.close()

    def night(self, steps: list[dict[str, Any]], data: DataSet) -> None:
        """Change the data, start a run, kill something a few times, wait until all has ended, look."""
        data.apply(steps)
        failed = self._failed_promotions()
        run = self.airflow.trigger(RETRAIN)
        began, killed = time.monotonic(), 0
        for _ in range(self.dice.randrange(KILLS_A_NIGHT + 1)):
            moment = time.monotonic() + self.longest * self.dice.random()
            while time.monotonic() < moment and self._is_active():
                time.sleep(0.2)
            killed += self._kill(self.dice.choice(TARGETS))
        self.airflow.wait(lambda: not self._is_active())
        if not killed:
            self.longest = time.monotonic() - began
        state = self.airflow.runs(RETRAIN)[run]
        if state == "failed" and self.airflow.tasks(RETRAIN, run)["ingest"] == "failed":
            run = self.airflow.trigger(RETRAIN, accept_data_changes=True)
            self.airflow.wait(lambda: not self._is_active())
            state = self.airflow.runs(RETRAIN)[run]
        finished = state == "success" and self._failed_promotions() == failed
        if finished:
            for stage in STAGES:
                self._acknowledge(run, stage)
        self.nights.append(state)
        self.look(finished=finished)

    def _failed_promotions(self) -> set[str]:
        return {run for run, state in self.airflow.runs(PROMOTE).items() if state == "failed"}

    def _is_active(self) -> bool:
        states = {*self.airflow.runs(RETRAIN).values(), *self.airflow.runs(PROMOTE).values()}
        return not states.isdisjoint({"queued", "running"})

    def _kill(self, target: str) -> bool:
        """Kill the process of a task, or all of Airflow; return whether there was one to kill."""
        if target == "airflow":
            self._cut_power()
        elif at_work := self._at_work():
            with suppress(psutil.NoSuchProcess):
                self.dice.choice(at_work).kill()
        else:
            return False
        self.look(finished=False)
        if target == "airflow":
            self.end()  # now, as at the end its number may be that of another process
            self.airflow = self._start()
        self.kills[target] += 1
        return True

    def _at_work(self) -> list[psutil.Process]:
        """Return the processes of tasks; between two tasks wait until there is one, or nothing is under way."""
        everything = psutil.Process(self.airflow.process.pid)
        while self._is_active():
            if found := [one for one in everything.children(recursive=True) if _runs_task(one)]:
                return sorted(found, key=lambda one: one.pid)
            time.sleep(0.05)
        return []

    def _cut_power(self) -> None:
        """Kill every process of Airflow's session; tasks may be in process groups of their own."""
        session = self.airflow.process.pid
        for process in psutil.pids():
            with suppress(ProcessLookupError):
                if os.getsid(process) == session:
                    os.kill(process, signal.SIGKILL)
        self.airflow.process.wait()

    def _acknowledge(self, run: str, stage: str) -> None:
        """Tell the auditor what a task has reported as done."""
        where = f"/api/v2/dags/{RETRAIN}/dagRuns/{run}/taskInstances/{stage}/xcomEntries/return_value"
        with self.airflow.client() as client:
            answer = client.get(where)
        if answer.status_code == 200:  # it was skipped otherwise, as nothing was new
            value = answer.json()["value"]
            report = json.loads(value) if isinstance(value, str) else value
            self.auditor.acknowledge({"finished": stage, "details": report})


def _runs_task(process: psutil.Process) -> bool:
    try:
        title = " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
    return title.startswith(TASK) and not title.startswith(EXECUTOR)


def main() -> int:
    """Kill as many processes as the command line asks for; print what was found."""
    asked = asked_for("scheduled_runs", __doc__, kills=30)
    began = time.monotonic()
    where = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="campaign-scheduled-", dir=where) as name:
        folder, nights = Path(name), story(asked.seed, 1000)
        data = DataSet(folder / "dataset")
        data.apply(nights[0]["data"])
        runs = ScheduledRuns(folder, asked.seed)
        runs.reader.start()
        try:
            for night in nights[1:]:
                runs.night(night["data"], data)
                sys.stdout.write(f"{runs.kills}, {len(runs.nights)} nights, the last one {runs.nights[-1]}\n")
                sys.stdout.flush()
                if sum(runs.kills.values()) >= asked.kills or runs.found:
                    break
                if time.monotonic() > began + asked.minutes * 60:
                    break
        finally:
            runs.reader.stop()
            runs.end()
    table = {"commit": commit(), "seed": asked.seed, "kills": runs.kills, "nights": len(runs.nights),
             "nights_that_succeeded": runs.nights.count("success"), "readers_checks": runs.reader.checks,
             "changes_that_readers_saw": runs.reader.changes, "seconds": round(time.monotonic() - began),
             "violations": runs.found}  # fmt: skip
    sys.stdout.write(json.dumps(table, indent=1) + "\n")
    return 1 if runs.found else 0


if __name__ == "__main__":
    sys.exit(main())
