"""Runs of skin_lesion_predict, for real by `dag.test()` on a small folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skinlesion.data.sources.drawn.sample import write_sample

IMAGES = 9


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house") / "models"
    subprocess.run([sys.executable, Path(__file__).with_name("put_model.py"), folder], check=True)
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_sample(folder, images=IMAGES - 1, size=(96, 72))
    (folder / "images" / "letter.jpg").write_bytes(b"no picture")
    return folder / "images"


@pytest.fixture(scope="module")
def by_command(models: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table that the command line writes."""
    table = tmp_path_factory.mktemp("command") / "found.csv"
    command = [
        Path(sys.executable).with_name("skinlesion"),
        "predict",
        "--quiet",
        "--models",
        models,
        "--output",
        table,
    ]
    assert subprocess.run([*command, images]).returncode == 1
    return table


def run(models: Path, scratch: Path, fail_once: str | None = None, **params: Any) -> dict[str, Any]:
    """Run the DAG in a process of its own; the installation's data set is in the scratch folder."""
    request = {"dag_id": "skin_lesion_predict", "settings": {"models": str(models)} | params, "fail_once": fail_once}
    script, summary = Path(__file__).with_name("run_dag.py"), scratch / "summary.json"
    done = subprocess.run(
        [sys.executable, script, json.dumps(request), summary],
        env=os.environ | {"SKINLESION_DATASET": str(scratch / "dataset")},
        capture_output=True,
        text=True,
    )
    sys.stdout.write(done.stdout + done.stderr)
    assert done.returncode == 0
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def tries(found: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    states: dict[str, list[tuple[str, int]]] = {}
    for task in found["tasks"]:
        states.setdefault(task["task"], []).append((task["state"], task["tries"]))
    return states


@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize(("shards", "fail_once"), [(1, None), (3, "predict_shard")])
def test_the_table_is_that_of_the_command_also_after_a_full_disk(
    models: Path, images: Path, by_command: Path, tmp_path: Path, shards: int, fail_once: str | None
) -> None:
    found = run(models, tmp_path, fail_once, images=str(images), table="found.csv", shards=shards)
    assert found["state"] == "success"
    states = tries(found)
    failed = 1 if fail_once else 0
    assert sorted(states["predict"]) == [("success", 1)] * (shards - failed) + [("success", 2)] * failed
    assert states["plan"] == states["merge"] == [("success", 1)]
    folder = tmp_path / "dataset" / "predictions"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in by_command.parent.iterdir()
    }
    (merged,) = found["reports"]["merge"]
    assert (merged["images"], merged["refused"], merged["version"]) == (IMAGES, 1, 7)
    assert merged["table"] == str(folder / "found.csv")
    assert merged["host"]
    assert merged["images_per_second"] > 0
    parts = found["reports"]["predict"]
    assert len(parts) == shards
    assert sum(part["images"] for part in parts) == IMAGES
    assert sum(part["kept"] for part in parts) > 0 if fail_once else all(part["kept"] == 0 for part in parts)


@pytest.mark.usefixtures("airflow_database")
def test_a_missing_folder_fails_the_run_without_a_retry(models: Path, tmp_path: Path) -> None:
    found = run(models, tmp_path, images=str(tmp_path / "nowhere"))
    assert found["state"] == "failed"
    states = tries(found)
    assert states["plan"] == [("failed", 1)]
    assert {state for task in ("predict", "merge") for state, _ in states[task]} == {"upstream_failed"}
    (notice,) = found["notices"]
    assert "skin_lesion_predict failed in plan" in notice
    assert "The model in service has not changed" in notice
    assert not (tmp_path / "dataset").exists()
