"""What others know of Dockerfiles and compose files, asked of the project's own. docs/measurements/containers.md explains what is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = Path(sys.executable).parent

EXPLAINED = {
    "CL-0004",  # latest is the image that make docker-up has just built; IMAGE names a release
    "CL-0019",  # a digest would keep security updates of postgres:17, redis:7 and caddy:2 out; POSTGRES_IMAGE takes one
    "CL-0026",  # memory is limited everywhere, CPU where tasks run: TASK_CPUS, WORKER_CPUS, TRAINING_CPUS, PREDICTOR_CPUS
}


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run([TOOLS / "hadolint", "Dockerfile"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_lint_finds_nothing_that_is_not_explained() -> None:
    command = [str(TOOLS / "compose-lint"), "--format", "json", "docker-compose.yaml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout
    assert {finding["rule_id"] for finding in found["findings"]} <= EXPLAINED
