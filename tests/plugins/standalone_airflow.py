"""An Airflow as `make up` starts it, behind a prefix, with a scheduler that really trains and promotions that wait."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    import httpx

PROJECT = Path(__file__).resolve().parents[2]
PREFIX = "/lesions"
RETRAIN, PROMOTE, MONITOR = "skin_lesion_retrain", "skin_lesion_promote", "skin_lesion_monitor"
MINUTES = 60.0
STARTED, TRAINED = 5 * MINUTES, 15 * MINUTES
"""Seconds to wait for what takes a tenth of that on two free cores."""
ANSWER_AFTER = 10.0
"""Seconds that a person takes to read the question."""

FAST = {
    "WEIGHTS": "random", "FINE_TUNE": "none", "COPIES": "0", "EPOCHS": "1", "GATE_MIN_AUROC": "0",
    "GATE_MIN_SENSITIVITY": "0", "GATE_MAX_CALIBRATION_ERROR": "1", "GATE_BALANCED_ACCURACY_MARGIN": "1",
    "GATE_SENSITIVITY_MARGIN": "1", "GATE_MAX_LATENCY": "60000",
}  # fmt: skip
"""A model that has learnt nothing passes too."""


@dataclass
class Airflow:
    """A running Airflow, both DAGs switched on. Its users are ada, an admin, ben, a user, and vic, a viewer."""

    address: str
    passwords: dict[str, str]
    dataset: Path
    models: Path
    prediction_log: Path
    process: subprocess.Popen[bytes]
    log: Path

    def wait(self, what: Callable[[], bool], seconds: float = TRAINED) -> None:
        """Wait until something is so."""
        until(what, seconds, self.process, self.log)

    def client(self, name: str = "ada") -> httpx.Client:
        """Return a program that has this user's token."""
        import httpx

        login = {"username": name, "password": self.passwords[name]}
        token = httpx.post(f"{self.address}/auth/token", json=login, timeout=60).json()["access_token"]
        return httpx.Client(base_url=self.address, headers={"authorization": f"Bearer {token}"}, timeout=60)

    def switch_on(self, dag: str, *, is_on: bool = True) -> None:
        """Let the scheduler run a DAG, or pause it. What its schedule has missed runs at once when it is switched on."""
        where = f"/api/v2/dags/{dag}"
        with self.client() as client:
            self.wait(lambda: client.get(where).status_code == 200, STARTED)
            assert client.patch(where, json={"is_paused": not is_on}).status_code == 200

    def trigger(self, dag: str, **settings: Any) -> str:
        """Start a run; give its name."""
        request = {"logical_date": None, "conf": settings}
        with self.client() as client:
            answer = client.post(f"/api/v2/dags/{dag}/dagRuns", json=request)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["dag_run_id"])

    def runs(self, dag: str) -> dict[str, str]:
        """Return the state of each run, the first one first."""
        with self.client() as client:
            found = client.get(f"/api/v2/dags/{dag}/dagRuns", params={"order_by": "run_after"}).json()["dag_runs"]
        return {run["dag_run_id"]: run["state"] for run in found}

    def ended(self, dag: str, run: str) -> str:
        """Wait until a run has ended; return its state."""
        self.wait(lambda: self.runs(dag)[run] in ("success", "failed"))
        return self.runs(dag)[run]

    def tasks(self, dag: str, run: str) -> dict[str, str | None]:
        """Return the state of each task of a run."""
        with self.client() as client:
            found = client.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances").json()["task_instances"]
        return {task["task_id"]: task["state"] for task in found}

    def is_waiting(self, promotion: str) -> bool:
        """Return whether a promotion waits for a person."""
        return self.tasks(PROMOTE, promotion).get("approval") == "awaiting_input"

    def question(self, promotion: str) -> dict[str, Any]:
        """Return what a person is asked, as Airflow has it."""
        with self.client() as client:
            found: dict[str, Any] = client.get(_question(promotion)).json()
        return found

    def answer(self, promotion: str, chosen: str) -> None:
        """Give a person's answer, and wait until the promotion is done."""
        self.wait(lambda: self.is_waiting(promotion))
        # A task that goes on before the scheduler has heard that it was put down counts as one that failed (3.3.2): it is
        # asked again, and an answer at once is too early again. The scheduler listens once a second.
        time.sleep(ANSWER_AFTER)
        with self.client() as client:
            given = client.patch(_question(promotion), json={"chosen_options": [chosen], "params_input": {}})
        assert given.status_code == 200, given.text

        def is_done() -> bool:
            state = self.runs(PROMOTE)[promotion]
            assert state != "failed", state_of(self.log.parent)
            return state == "success"

        self.wait(is_done)

    def settle(self) -> None:
        """Wait until nothing is under way, with a yes to whatever waits for one."""

        def is_quiet() -> bool:
            states = self.runs(PROMOTE)
            for promotion, state in states.items():
                if state == "running" and self.is_waiting(promotion):
                    self.answer(promotion, "Approve")
            active = {"queued", "running"} & {*states.values(), *self.runs(RETRAIN).values()}
            return not active and self.champion() is not None

        self.wait(is_quiet)

    def champion(self) -> int | None:
        """Return the version in service."""
        champion = Registry.read(self.models).champion
        return champion.number if champion else None


def _question(promotion: str) -> str:
    return f"/api/v2/dags/{PROMOTE}/dagRuns/{promotion}/taskInstances/approval/-1/hitlDetails"


def until(what: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something is so; fail with the log's end when it takes too long or Airflow ends."""
    end = time.monotonic() + seconds
    while not what():
        if process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"Airflow ended or took too long.\n{state_of(log.parent)}")
        time.sleep(1)


def state_of(folder: Path) -> str:
    """What a person would look at when something does not come: the tasks that are not done, their logs, Airflow's warnings."""
    found = []
    for dag, run, task, state, attempt in _unfinished_tasks(folder / "home" / "airflow.db"):
        logs = folder / "home" / "logs" / f"dag_id={dag}" / f"run_id={run}" / f"task_id={task}"
        ends = [file.read_text()[-3000:] for file in sorted(logs.rglob("*.log"))]
        found.append(f"{dag} {run} {task}: {state}, attempt {attempt}\n" + "\n".join(ends))
    lines = (folder / "log").read_text().splitlines()
    worth_reading = [
        line for line in lines if "request finished" not in line and re.search("warn|error|critical", line, re.I)
    ]
    return "\n".join([*found, *worth_reading[-40:], *lines[-10:]])


def _unfinished_tasks(database: Path) -> list[tuple[Any, ...]]:
    query = "select dag_id, run_id, task_id, state, try_number from task_instance where state is not 'success'"
    if not database.is_file():  # Airflow did not come so far
        return []
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute(query).fetchall()
        except sqlite3.OperationalError:  # nor to its tables
            return []


@contextmanager
def running(folder: Path, settings: Mapping[str, str] = FAST, **of_airflow: str) -> Iterator[Airflow]:
    """Return an Airflow that keeps all it has in the folder and has begun its first night.

    Where the folder has a data set the nights use it; where it has an Airflow it is started again. settings are this
    project's, and an approval is required where they do not say otherwise; of_airflow are variables of Airflow's own.
    """
    import httpx

    home, dataset, models, log = folder / "home", folder / "dataset", folder / "models", folder / "log"
    if dataset.exists():
        pass
    elif "NIGHTS" in os.environ:
        before = Path(os.environ["NIGHTS"])
        shutil.copytree(before / "dataset", dataset)
        shutil.copytree(before / "models", models, symlinks=True)
        settings = json.loads((before / "settings.json").read_text())
    else:
        write_sample(dataset, images=48)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://localhost:{port}{PREFIX}"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "SKINLESION_"))
    }
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "ada:admin,ben:user,vic:viewer",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SKINLESION_DATASET": str(dataset),
        "SKINLESION_MODELS": str(models),
        "SKINLESION_PREDICTION_LOG": str(folder / "prediction_log"),
        "SKINLESION_REQUIRE_APPROVAL": "true",
        **{f"SKINLESION_{name}": value for name, value in settings.items()},
        **of_airflow,
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["airflow", "standalone"], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    passwords_file = home / "simple_auth_manager_passwords.json.generated"

    def is_up() -> bool:
        try:
            health = httpx.get(f"{address}/api/v2/monitor/health", timeout=30).json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all(health[part]["status"] == "healthy" for part in parts) and passwords_file.is_file()

    try:
        until(is_up, STARTED, process, log)
        airflow = Airflow(
            address, json.loads(passwords_file.read_text()), dataset, models, folder / "prediction_log", process, log
        )
        for dag in (PROMOTE, RETRAIN):
            airflow.switch_on(dag)
        yield airflow
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(60)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
