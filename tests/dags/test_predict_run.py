"""Runs of skin_lesion_predict, for real by `dag.test()` on a small folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.dags.run_dag import RunDag
from tests.prediction.real_server import Models

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.prediction.folder import refused_beside

IMAGES = 9


@pytest.fixture(scope="module")
def models(two_classifiers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder in which an untrained classifier is in service as version 7."""
    models = Models(tmp_path_factory.mktemp("house") / "models", two_classifiers)
    models.switch_to("a", version=7)
    return models.folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the installation's data set."""
    return tmp_path_factory.mktemp("installation") / "dataset"


@pytest.fixture(scope="module")
def images(dataset: Path) -> Path:
    folder = dataset / "to_predict"
    write_sample(folder, images=IMAGES - 1, size=(96, 72))
    (folder / "images" / "letter.jpg").write_bytes(b"no picture")
    return folder / "images"


@pytest.fixture(scope="module")
def by_command(models: Path, images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the table that the command line writes."""
    table = tmp_path_factory.mktemp("command") / "found.csv"
    skinlesion = Path(sys.executable).with_name("skinlesion")
    command: list[str | Path] = [skinlesion, "predict", "--quiet", "--models", models, "--output", table, images]
    assert subprocess.run(command).returncode == 1
    return table


@pytest.fixture
def predict(run_dag: RunDag, models: Path, dataset: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the DAG."""

    def run(fail_once: str | None = None, **params: Any) -> dict[str, Any]:
        environment = {"SKINLESION_DATASET": str(dataset), "SKINLESION_MODELS": str(models)}
        return run_dag("skin_lesion_predict", params, fail_once, environment)

    return run


def tries(found: dict[str, Any]) -> dict[str, list[tuple[str, int]]]:
    states: dict[str, list[tuple[str, int]]] = {}
    for task in found["tasks"]:
        states.setdefault(task["task"], []).append((task["state"], task["tries"]))
    return states


@pytest.mark.parametrize(("shards", "fail_once"), [(1, None), (3, "predict_shard")])
def test_the_table_is_that_of_the_command_also_after_a_full_disk(
    predict: Callable[..., dict[str, Any]],
    images: Path,
    by_command: Path,
    dataset: Path,
    shards: int,
    fail_once: str | None,
) -> None:
    found = predict(fail_once, images=str(images), table="found.csv", shards=shards)
    assert found["state"] == "success"
    states = tries(found)
    failed = 1 if fail_once else 0
    assert sorted(states["predict"]) == [("success", 1)] * (shards - failed) + [("success", 2)] * failed
    assert states["plan"] == states["merge"] == [("success", 1)]
    folder = dataset / "predictions"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in by_command.parent.iterdir()
    }
    (merged,) = found["reports"]["merge"]
    assert (merged["images"], merged["refused"], merged["version"]) == (IMAGES, 1, 7)
    assert merged["table"] == str(folder / "found.csv")
    assert merged["refused_list"] == str(refused_beside(folder / "found.csv"))
    assert merged["host"]
    assert merged["images_per_second"] > 0
    parts = found["reports"]["predict"]
    assert len(parts) == shards
    assert sum(part["images"] for part in parts) == IMAGES
    assert sum(part["kept"] for part in parts) > 0 if fail_once else all(part["kept"] == 0 for part in parts)


def test_a_folder_that_is_not_the_installations_fails_the_run_without_a_retry(
    predict: Callable[..., dict[str, Any]], dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "private.jpg").write_bytes(b"somebody else's")
    before = sorted(dataset.rglob("*"))
    found = predict(images=str(tmp_path), table="other.csv")
    assert found["state"] == "failed"
    states = tries(found)
    assert states["plan"] == [("failed", 1)]
    assert {state for task in ("predict", "merge") for state, _ in states[task]} == {"upstream_failed"}
    (notice,) = found["notices"]
    assert "(skin_lesion_predict, manual__" in notice
    assert ") failed in plan" in notice
    assert "The model in service has not changed" in notice
    assert sorted(dataset.rglob("*")) == before
