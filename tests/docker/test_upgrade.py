"""From an earlier version to this one: UPGRADE_FROM=TAG, or the last tag before this commit."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.container_stack import PROJECT

if TYPE_CHECKING:
    from benchmarks.container_stack import Stack

pytestmark = pytest.mark.docker


def _previous() -> str:
    command = ["git", "describe", "--tags", "--abbrev=0", "HEAD^"]
    found = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return found.stdout.strip()


REVISION = os.environ.get("UPGRADE_FROM") or _previous() or "HEAD^"


def test_an_upgrade_keeps_runs_data_secrets_and_the_model_in_service_and_the_next_night_is_green(stack: Stack) -> None:
    settings: dict[str, Any] = {"weights": "random", "fine_tune": "none", "epochs": 2, "shards": 2}
    stack.up()
    stack.inside("scheduler", "skinlesion", "sample", "dataset")
    first = stack.trigger(**settings)
    stack.unpause()
    assert stack.wait(first) == "success", stack.summary(first)
    kept = ("dataset/manifest.parquet", "models/skin_lesion_classifier.h5")
    before = stack.inside("scheduler", "sha256sum", *kept)
    password = stack.secret("ADMIN_PASSWORD")

    stack.run("git", "checkout", "--quiet", "origin/HEAD")
    stack.up()
    assert stack.secret("ADMIN_PASSWORD") == password
    assert stack.inside("scheduler", "sha256sum", *kept) == before
    assert stack.api("GET", f"/dags/skin_lesion_retrain/dagRuns/{first}")["state"] == "success"
    second = stack.trigger(**settings)
    assert stack.wait(second) == "success", stack.summary(second)
