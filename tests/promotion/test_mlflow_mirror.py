"""MLflow mirrors the registry: one run a candidate, whatever is repeated; and the registry does not depend on it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.made_once import MakeOnce
from tests.measured import known
from tests.model_house import House

from skinlesion.promotion.mlflow_mirror import NAME, RUN_TAG, VERSION_TAG, RunLogUnavailable, mirror, tracking_uri
from skinlesion.registry import history, in_service
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.register import register
from skinlesion.registry.retention import remove_old_files
from skinlesion.registry.switch import promote
from skinlesion.registry.versions import KnownVersions

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def database(make_once: MakeOnce) -> Path:
    """Return an empty database of MLflow, whose migrations take seconds."""

    def migrate(folder: Path) -> None:
        from mlflow import MlflowClient

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's own tables
            MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return make_once("mlflow", migrate) / "mlflow.db"


@pytest.fixture
def client(house: House, database: Path) -> MlflowClient:
    """Return a client of the MLflow that has version 1."""
    mirror(house.config)  # nothing to write yet, so nothing is made
    assert not (house.models / "mlflow").exists()
    (house.models / "mlflow").mkdir(parents=True)
    shutil.copyfile(database, house.models / "mlflow" / "mlflow.db")
    house.add("one")
    assert mirror(house.config) == [1]
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri(house.models), registry_uri=tracking_uri(house.models))


def runs(client: MlflowClient) -> list[Run]:
    return list(client.search_runs([known(client.get_experiment_by_name(NAME)).experiment_id]))


def test_a_candidate_is_one_run_with_everything_that_made_it(house: House, client: MlflowClient) -> None:
    (run,) = runs(client)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"epochs": "2", "seed": "1"}
    assert run.data.metrics["balanced_accuracy"] == pytest.approx(0.85)
    assert run.data.metrics["balanced_accuracy_low"] == 0.8
    epochs = client.get_metric_history(run.info.run_id, "epoch_loss")
    assert [(metric.step, metric.value) for metric in epochs] == [(1, 1.0), (2, 0.5)]
    tags = run.data.tags
    assert (tags[RUN_TAG], tags["skinlesion.version"], tags["state"]) == ("one", "1", "candidate")
    assert (tags["data_version"], tags["git_revision"]) == ("da7a", "f00d")
    assert len(tags["uv_lock_sha256"]) == 64
    assert tags["held_out_version"]
    assert "code: Apache-2.0" in tags["licences"]
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"report.html", "metrics.json", "training.json", "decision_rule.json"}


def test_a_figure_that_too_few_lesions_stand_behind_is_not_written(house: House, client: MlflowClient) -> None:
    house.add("few")
    candidate = house.candidate("few")
    metrics = MetricsRecord.read(candidate.metrics)
    of_class = metrics.per_class | {"malignant": metrics.per_class["malignant"].model_copy(update={"lesions": 7})}
    metrics = metrics.model_copy(update={"per_class": of_class})
    metrics.write(candidate.metrics)
    register(house.models, candidate, metrics)
    mirror(house.config)
    written = next(run.data.metrics for run in runs(client) if run.data.tags[RUN_TAG] == "few")
    assert not {"balanced_accuracy", "balanced_accuracy_low", "malignant_auroc", "sensitivity"} & set(written)
    assert {"images", "lesions", "accuracy"} <= set(written)


def test_what_is_repeated_updates_its_own_run(
    house: House, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = KnownVersions.read(house.models).measurements[1]
    monkeypatch.setattr(history, "now", lambda: first.at)  # the next measurement comes within the same second
    assert mirror(house.config) == []
    candidate = house.candidate("one")
    changes = {"balanced_accuracy": 0.7, "held_out_version": "more"}
    metrics = MetricsRecord.read(candidate.metrics).model_copy(update=changes)
    metrics.write(candidate.metrics)
    register(house.models, candidate, metrics)
    assert mirror(house.config) == [1]
    (house.models / "mlflow" / "mirrored.json").unlink()  # as after a kill before it was written
    assert mirror(house.config) == [1]
    (run,) = runs(client)
    assert run.data.metrics["balanced_accuracy"] == 0.7
    assert run.data.tags["held_out_version"] == "more"
    assert len(client.get_metric_history(run.info.run_id, "epoch_loss")) == 2
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def test_the_aliases_follow_what_is_in_service(house: House, client: MlflowClient) -> None:
    def alias(name: str) -> str:
        return str(client.get_model_version_by_alias(NAME, name).tags["skinlesion.version"])

    assert alias("candidate") == "1"
    promote(house.models, 1, actor="ann", reason="first")
    assert mirror(house.config) == [1]
    assert alias("champion") == "1"
    assert "candidate" not in client.get_registered_model(NAME).aliases
    house.add("two")
    mirror(house.config)
    assert (alias("champion"), alias("candidate")) == ("1", "2")
    assert {run.data.tags["state"] for run in runs(client)} == {"champion", "candidate"}


def files_of(client: MlflowClient) -> dict[str, set[str]]:
    """Return the names of the files of each run, by version."""
    return {
        run.data.tags[VERSION_TAG]: {file.path for file in client.list_artifacts(run.info.run_id)}
        for run in runs(client)
    }


def test_the_files_of_old_versions_go_and_their_figures_stay(house: House, client: MlflowClient) -> None:
    """Lost otherwise: the disk, a megabyte a night without an end."""
    promote(house.models, 1, actor="ann", reason="first")
    mirror(house.config)
    sizes, artifacts = [], house.models / "mlflow" / "artifacts"
    for night in range(2, 7):
        house.add(f"night{night}")
        remove_old_files(house.models, keep=2, keep_former_champions=1)
        mirror(house.config)
        sizes.append(sum(path.stat().st_size for path in artifacts.rglob("*") if path.is_file()))
    assert sizes[-1] <= sizes[1]
    files = files_of(client)
    assert {number for number, names in files.items() if names} == {"1", "5", "6"}  # the champion, and the newest two
    assert all(run.data.metrics["balanced_accuracy"] and run.data.params["epochs"] for run in runs(client))
    assert {run.data.tags[VERSION_TAG]: run.data.tags["files"].partition(" ")[0] for run in runs(client)} == {
        "1": "here", "2": "removed:", "3": "removed:", "4": "removed:", "5": "here", "6": "here",
    }  # fmt: skip
    assert mirror(house.config) == []


def test_a_folder_of_models_that_was_copied_writes_beside_itself_alone(house: House, client: MlflowClient) -> None:
    """Lost otherwise: who tries something on a copy writes into the original, whose reports change."""
    original, copy = house.models, house.models.parent / "copied models"
    shutil.copytree(original, copy, symlinks=True)
    state = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in original.rglob("*") if path.is_file()}
    other = dataclasses.replace(house, config=house.config.model_copy(update={"models": copy}))
    other.add("two")
    assert mirror(other.config) == [1, 2]
    assert {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in original.rglob("*") if path.is_file()
    } == state
    from mlflow import MlflowClient

    there = MlflowClient(tracking_uri(copy), registry_uri=tracking_uri(copy))
    assert {run.info.artifact_uri.startswith(copy.as_uri()) for run in runs(there)} == {True}
    assert {known(version.source).startswith(f"{copy}/") for version in there.search_model_versions()} == {True}
    assert all(files_of(there).values())
    shutil.rmtree(original)  # as when it was moved
    assert all(files_of(there).values())


@pytest.mark.parametrize("secret", ["http://admin:s3cr3t@127.0.0.1:9", "http://127.0.0.1:9/?token=s3cr3t"])
def test_the_password_of_mlflow_is_not_said(house: House, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Lost otherwise: the log, the note and the notice of each failed mirror give MLflow's password away."""
    house.add("one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", secret)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RunLogUnavailable, match=r"MLflow at http://127\.0\.0\.1:9") as said:
        mirror(house.config)
    assert "s3cr3t" not in "".join(traceback.format_exception(said.value))


def test_without_mlflow_the_model_comes_into_service_and_the_mirror_is_completed_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = house.add("one")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    promote(house.models, number, actor="ann", reason="It passed")
    with pytest.raises(RunLogUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 cannot be written to"):
        mirror(house.config)
    assert known(in_service.read(house.models)).version == number
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert mirror(house.config) == [number]


def uv() -> str:
    # Of a worktree, whose environment is that of the checkout it was made from, uv lies there.
    found = [PROJECT / ".uv" / "bin" / "uv", (PROJECT / ".venv").resolve().parent / ".uv" / "bin" / "uv"]
    return shutil.which("uv") or str(next((path for path in found if path.exists()), ""))


def make_mlflow(models: Path, port: int = 1) -> subprocess.Popen[str]:
    """Start what `make mlflow` starts once the environment is there."""
    environment = os.environ | {"UV": uv(), "SKINLESION_MODELS": str(models)}
    command = [str(PROJECT / "tools" / "mlflow.sh"), str(port)]
    piped = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, cwd=PROJECT, stdout=piped, stderr=piped, text=True, start_new_session=True
    )


def test_make_mlflow_says_what_is_missing_rather_than_make_an_empty_store(tmp_path: Path) -> None:
    process = make_mlflow(tmp_path)
    assert "mlflow.db is missing" in process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # it starts MLflow's server, which a first time is fetched from the package registry
def test_make_mlflow_shows_the_versions(house: House, client: MlflowClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    process = make_mlflow(house.models, port)
    assert process.stdout is not None
    try:
        address = f"http://127.0.0.1:{port}"
        assert any(address in line for line in process.stdout if "Ctrl-C ends it" in line)
        with httpx.Client(base_url=address, timeout=30) as http:
            page = http.get("/")
            assert "<title>MLflow</title>" in page.text
            (script,) = re.findall(r'src="(static-files/[^"]+\.js)"', page.text)
            assert http.get(f"/{script}").status_code == 200
            found = http.get("/ajax-api/2.0/mlflow/model-versions/search").json()["model_versions"]
            assert [(version["name"], version["tags"]) for version in found] == [
                (NAME, [{"key": VERSION_TAG, "value": "1"}, {"key": RUN_TAG, "value": "one"}])
            ]
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert "Traceback" not in complaints


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Return the address of an MLflow server that keeps the files, as that of the containers does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host, port = address.split(":")
    store, environment = f"sqlite:///{tmp_path / 'server.db'}", os.environ | {"PYTHONWARNINGS": "ignore"}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    package = f"mlflow=={version('mlflow-skinny')}"
    command = [uv(), "tool", "run", "--quiet", "--python", sys.executable, "--from", package, "mlflow", "server"]
    command += ["--host", host, "--port", port, "--workers", "1", "--backend-store-uri", store, "--serve-artifacts"]
    command += ["--artifacts-destination", str(tmp_path / "server")]
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, start_new_session=True)
    try:
        for _ in range(300):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"http://{address}/health").is_success:
                    break
            time.sleep(0.5)
        yield f"http://{address}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


@pytest.mark.slow  # it starts MLflow's server, which a first time is fetched from the package registry
def test_a_server_loses_the_files_of_old_versions_as_well(
    house: House, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost otherwise: 32 MB of the server's volume a night, where the models are uploaded too."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    for night in ("one", "two", "three"):
        house.add(night)
        remove_old_files(house.models, keep=1, keep_former_champions=1)
        mirror(house.config)
    files = [path.name for path in (tmp_path / "server").rglob("*") if path.is_file()]
    assert sorted(files) == sorted(set(files))
    assert {"report.html", "skin_lesion_classifier_trained.h5"} <= set(files)
    from mlflow import MlflowClient

    found = files_of(MlflowClient(server, registry_uri=server))
    assert {number for number, names in found.items() if names} == {"3"}
