"""A fresh clone of the project, started by `make docker-up`, and what a person does with it over HTTP."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parents[1]
PORTS = {"HTTPS_PORT": "18443", "HTTP_PORT": "18080"}
AUTHORITY = "/var/lib/proxy/caddy/pki/authorities/local/root.crt"


class Stack:
    """The containers of one clone."""

    def __init__(self, folder: Path, weights: Path | None = None) -> None:
        self.folder = folder
        self.weights = weights
        self._token = ""  # a login takes the server a quarter of a second

    @classmethod
    def cloned(cls, folder: Path, weights: Path | None = None, revision: str = "HEAD") -> Stack:
        """Give the stack of a fresh clone at a revision, with ports of its own."""
        subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
        subprocess.run(["git", "checkout", "--quiet", revision], cwd=folder, check=True)
        ports = "".join(f"{name}={port}\n" for name, port in PORTS.items())
        (folder / ".env").write_text(f"{ports}IMAGE=skinlesion:test\n")
        return cls(folder, weights)

    # --- What `make` and Docker do -----------------------------------------------------------------------------------

    def up(self, workers: int | None = None) -> str:
        """Run `make docker-up`; give what it printed."""
        variables = [f"WORKERS={workers}"] if workers is not None else []
        variables += [f"WEIGHTS={self.weights}"] if self.weights else []
        return self.run("make", "docker-up", *variables)

    def down(self) -> None:
        """Run `make docker-down`."""
        self.run("make", "docker-down")

    def remove(self) -> None:
        """Remove the containers and their volumes, and close the client of the proxy."""
        if "http" in self.__dict__:  # it is made where it is first used
            self.http.close()
        self.compose("down", "--volumes", "--remove-orphans")

    def compose(self, *arguments: str) -> str:
        """Run Docker Compose with both profiles."""
        return self.run("tools/compose.sh", *arguments, COMPOSE_PROFILES="celery")

    def run(self, *command: str, **environment: str) -> str:
        """Run a command in the clone; give its output, or fail with it."""
        done = subprocess.run(
            command, cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a running container."""
        return self.compose("exec", "-T", service, *command)

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """Give what `docker inspect` says of the running containers."""
        ids = self.compose("ps", "--quiet", *([service] if service else [])).split()
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", *ids)) if ids else []
        return [container for container in found if container["State"]["Running"]]

    # --- What a person does over HTTP --------------------------------------------------------------------------------

    def secret(self, name: str) -> str:
        """Give a value of .env."""
        lines = (self.folder / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)[name]

    def token(self) -> str:
        """Give the first user's token of Airflow; log in for it once."""
        self._token = self._token or self._logged_in()
        return self._token

    def _logged_in(self) -> str:
        login = {"username": "admin", "password": self.secret("ADMIN_PASSWORD")}
        said = ""
        for _ in range(60):
            # Without its database Airflow says that the password is wrong
            answer = self.http.post("/auth/token", json=login)
            if answer.status_code == 201:
                return str(answer.json()["access_token"])
            said = answer.text
            time.sleep(2)
        raise AssertionError(f"cannot log in to Airflow: {said}")

    @cached_property
    def http(self) -> httpx.Client:
        """A client of the proxy, which trusts its authority. Airflow is at /, the predictor at /predictor/."""
        trust = ssl.create_default_context(cadata=self.inside("proxy", "cat", AUTHORITY))
        return httpx.Client(base_url=f"https://localhost:{PORTS['HTTPS_PORT']}", verify=trust, timeout=60)

    def api(self, method: str, path: str, **json_body: Any) -> Any:
        """Ask Airflow's REST API, again while it does not answer."""
        for _ in range(60):
            try:
                headers = {"Authorization": f"Bearer {self.token()}"}
                answer = self.http.request(method, f"/api/v2{path}", headers=headers, json=json_body or None)
            except httpx.TransportError:
                time.sleep(2)
                continue
            if answer.status_code == 401:
                self._token = ""
            elif answer.status_code < 500:
                assert answer.status_code < 300, answer.text
                return answer.json()
            time.sleep(2)
        raise AssertionError(f"{method} {path}: Airflow does not answer")

    def trigger(self, dag: str = "skin_lesion_retrain", **conf: Any) -> str:
        """Start a run; give its name. Switches the DAG on, once its nightly first run cannot come between."""
        run: dict[str, Any] = self.api("POST", f"/dags/{dag}/dagRuns", logical_date=None, conf=conf)
        return str(run["dag_run_id"])

    def unpause(self, dag: str = "skin_lesion_retrain") -> None:
        """Switch a DAG on."""
        self.api("PATCH", f"/dags/{dag}", is_paused=False)

    def tasks(self, run: str, dag: str = "skin_lesion_retrain") -> list[dict[str, Any]]:
        """Give a run's task instances."""
        found: list[dict[str, Any]] = self.api("GET", f"/dags/{dag}/dagRuns/{run}/taskInstances?limit=200")[
            "task_instances"
        ]
        return found

    def wait_for_task(
        self, run: str, task: str, states: tuple[str, ...] = ("running",), seconds: float = 600, every: float = 0.5
    ) -> None:
        """Wait until some instance of a task is in one of these states; look so often, in seconds."""
        until = time.monotonic() + seconds
        while not any(found["task_id"] == task and found["state"] in states for found in self.tasks(run)):
            assert time.monotonic() < until, f"{task} is not {states} after {seconds:g} s: {self.summary(run)}"
            time.sleep(every)

    def wait(self, run: str, dag: str = "skin_lesion_retrain", seconds: float = 1800) -> str:
        """Wait for a run's end; give its state."""
        until = time.monotonic() + seconds
        while True:
            state = str(self.api("GET", f"/dags/{dag}/dagRuns/{run}")["state"])
            if state in {"success", "failed"}:
                return state
            assert time.monotonic() < until, f"{run} is {state} after {seconds:g} s: {self.summary(run, dag)}"
            time.sleep(3)

    def wait_until_idle(self, seconds: float = 600) -> None:
        """Wait until no run of any DAG goes on: those of promotion follow by themselves."""
        until = time.monotonic() + seconds
        while self.api("GET", "/dags/~/dagRuns?state=queued&state=running")["dag_runs"]:
            assert time.monotonic() < until, f"runs go on after {seconds:g} s"
            time.sleep(3)

    def summary(self, run: str, dag: str = "skin_lesion_retrain") -> list[tuple[str, int, str, int, float | None]]:
        """Give each task instance's state, tries and seconds."""
        return [
            (found["task_id"], found["map_index"], found["state"], found["try_number"], found["duration"])
            for found in self.tasks(run, dag)
        ]

    def report(
        self, run: str, task: str, index: int = -1, key: str = "return_value", dag: str = "skin_lesion_retrain"
    ) -> dict[str, Any]:
        """Give what a task reported."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        value = self.api("GET", f"{path}?map_index={index}")["value"]
        found: dict[str, Any] = json.loads(value) if isinstance(value, str) else value
        return found
