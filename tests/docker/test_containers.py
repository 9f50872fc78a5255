"""The containers for real, in this order: one machine, then workers, then what dies in the middle of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from benchmarks.container_stack import Stack

pytestmark = pytest.mark.docker

QUICK: dict[str, Any] = {"weights": "random", "fine_tune": "none", "epochs": 2}
SHARDS = 8
SENSITIVITY = "SKINLESION_TARGET_SENSITIVITY=0.9"


def made(stack: Stack, dataset: str) -> str:
    """Return the manifest's hash."""
    return stack.inside("scheduler", "sha256sum", f"dataset/{dataset}/manifest.parquet").split()[0]


def copied(stack: Stack, name: str) -> None:
    """Copy the drawn images to a data set that nothing has been made of."""
    script = f"mkdir -p dataset/{name} && cp -r dataset/drawn/images dataset/drawn/diagnoses.csv dataset/{name}/"
    stack.inside("scheduler", "sh", "-c", script)


def install(stack: Stack, name: str = "") -> None:
    """Let the installation work on such a data set, or on its usual one: no run may choose it."""
    places = f"SKINLESION_DATASET=dataset/{name}\nSKINLESION_MODELS=models/{name}\n" if name else ""
    (stack.folder / "settings.env").write_text(f"{SENSITIVITY}\n{places}")
    if name:
        copied(stack, name)
    stack.up()


@pytest.fixture(scope="module")
def reference(stack: Stack) -> str:
    """The manifest that one machine makes of the drawn images without Airflow."""
    stack.inside("scheduler", "skinlesion", "sample", "dataset/drawn", "--images", "600", "--seed", "2")
    copied(stack, "reference")
    for stage in ("ingest", "resize", "augment", "organize"):
        stack.inside(
            "scheduler", "skinlesion", stage, "--quiet", "--dataset=dataset/reference", "--models=models/reference"
        )
    return made(stack, "reference")


def form(stack: Stack, dag: str = "skin_lesion_retrain") -> dict[str, Any]:
    """Return what a DAG's trigger form offers."""
    params = stack.api("GET", f"/dags/{dag}/details")["params"]
    return {name: param["value"] for name, param in params.items()}


def test_a_fresh_clone_comes_up_healthy_and_nobody_is_root(stack: Stack) -> None:
    (stack.folder / "settings.env").write_text(f"{SENSITIVITY}\n")
    said = stack.up()
    assert stack.secret("ADMIN_PASSWORD") in said
    found = stack.containers()
    assert len(found) == 9
    for container in found:
        assert container["State"]["Health"]["Status"] == "healthy"
        processes = stack.run("docker", "top", container["Id"], "-eo", "uid,pid").splitlines()[1:]
        users = {line.split()[0] for line in processes}
        assert users
        assert "0" not in users, container["Name"]
        is_proxy = "proxy" in container["Name"]
        assert bool(container["HostConfig"]["CapAdd"]) == is_proxy
        assert bool(container["HostConfig"]["PortBindings"]) == is_proxy


def test_a_run_over_the_api_ends_green_and_the_pages_answer(stack: Stack) -> None:
    stack.inside("scheduler", "skinlesion", "sample", "dataset")
    run = stack.trigger(**QUICK, shards=2)
    stack.unpause()
    stack.unpause("skin_lesion_promote")
    assert stack.wait(run) == "success", stack.summary(run)
    page = "/skin-lesion-models/"
    assert stack.http.get(page).status_code == 401
    assert stack.http.get(page, headers={"Authorization": f"Bearer {stack.token()}"}).status_code == 200
    assert stack.http.get("/predictor/").status_code == 200
    assert stack.http.post("/predictor/v1/predict").status_code == 401
    assert stack.http.get("/mlflow/").status_code == 401
    assert stack.http.get("/mlflow/", auth=("admin", stack.secret("MLFLOW_PASSWORD"))).status_code == 200


def test_airflows_session_is_sent_over_https_alone(stack: Stack) -> None:
    login = {"username": "admin", "password": stack.secret("ADMIN_PASSWORD")}
    stack.http.post("/auth/token", json=login)
    cookies = stack.http.get("/auth/login/").headers.get_list("set-cookie")
    assert cookies
    assert all("secure" in cookie.lower() for cookie in cookies)


def test_a_setting_of_the_file_holds_for_every_run(stack: Stack) -> None:
    assert form(stack)["target_sensitivity"] == 0.9
    assert form(stack)["shards"] == 1


def test_down_and_up_again_keeps_everything(stack: Stack) -> None:
    before = {run["dag_run_id"] for run in stack.api("GET", "/dags/skin_lesion_retrain/dagRuns")["dag_runs"]}
    manifest, password = made(stack, "."), stack.secret("ADMIN_PASSWORD")
    stack.down()
    assert stack.containers() == []
    stack.up()
    assert stack.secret("ADMIN_PASSWORD") == password
    assert made(stack, ".") == manifest
    assert {run["dag_run_id"] for run in stack.api("GET", "/dags/skin_lesion_retrain/dagRuns")["dag_runs"]} == before


def test_two_workers_share_the_shards_of_a_run(stack: Stack, reference: str) -> None:
    stack.up(workers=2)
    install(stack, "shared")
    run = stack.trigger(**QUICK, shards=SHARDS)
    assert stack.wait(run) == "success", stack.summary(run)
    workers = {container["Config"]["Hostname"] for container in stack.containers("worker")}
    assert len(workers) == 2
    for stage in ("examine", "resize", "augment", "embed"):
        assert {stack.report(run, stage, index)["host"] for index in range(SHARDS)} == workers
    (training,) = stack.containers("training-worker")
    assert stack.report(run, "train")["host"] == training["Config"]["Hostname"]
    assert made(stack, "shared") == reference


def test_two_workers_share_the_prediction_of_a_folder(stack: Stack, reference: str) -> None:
    install(stack)
    folder = "/app/dataset/drawn/images"
    alone = stack.inside(
        "scheduler", "sh", "-c", f"skinlesion predict {folder} --quiet --output /tmp/p.csv; cat /tmp/p.csv"
    )
    stack.unpause("skin_lesion_predict")
    shards = form(stack, "skin_lesion_predict")["shards"]
    assert shards == 4  # two a worker when nobody says another number
    run = stack.trigger("skin_lesion_predict", images=folder, table="shared.csv")
    assert stack.wait(run, "skin_lesion_predict") == "success", stack.summary(run, "skin_lesion_predict")
    assert stack.inside("scheduler", "cat", "dataset/predictions/shared.csv") == alone
    reports = [stack.report(run, "predict", index, dag="skin_lesion_predict") for index in range(shards)]
    assert {report["host"] for report in reports} == {c["Config"]["Hostname"] for c in stack.containers("worker")}


def test_a_killed_worker_costs_time_and_nothing_else(stack: Stack, reference: str) -> None:
    install(stack, "killed")
    run = stack.trigger(**QUICK, shards=SHARDS)
    stack.wait_for_task(run, "augment")
    stack.run("docker", "kill", stack.containers("worker")[0]["Id"])
    assert stack.wait(run) == "success", stack.summary(run)
    assert made(stack, "killed") == reference
    stack.up()


@pytest.mark.parametrize("service", ["postgres", "redis", "scheduler", "api-server"])
def test_a_run_outlives(stack: Stack, service: str, reference: str) -> None:
    name = f"without-{service}"
    install(stack, name)
    run = stack.trigger(**QUICK, shards=SHARDS)
    stack.wait_for_task(run, "augment")
    for container in stack.containers(service):
        stack.run("docker", "kill", container["Id"])
    time.sleep(5)
    stack.compose("start", service)
    assert stack.wait(run) == "success", stack.summary(run)
    assert made(stack, name) == reference


def test_a_backup_brings_back_runs_data_and_models(stack: Stack, reference: str) -> None:
    folder = stack.folder.parent / "backup"
    install(stack)
    stack.wait_until_idle()
    runs = stack.api("GET", "/dags/skin_lesion_retrain/dagRuns")["total_entries"]
    models = stack.inside("scheduler", "sha256sum", "models/skin_lesion_classifier_trained.h5")
    stack.run("tools/backup.sh", str(folder))
    stack.remove()
    for name in (".env", "settings.env", "predictor.env"):
        (stack.folder / name).unlink()
    stack.run("tools/restore.sh", str(folder))
    stack.up()
    assert form(stack)["target_sensitivity"] == 0.9
    assert made(stack, "shared") == reference
    assert stack.inside("scheduler", "sha256sum", "models/skin_lesion_classifier_trained.h5") == models
    assert stack.api("GET", "/dags/skin_lesion_retrain/dagRuns")["total_entries"] == runs
