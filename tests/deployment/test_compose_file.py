"""What each service of docker-compose.yaml keeps to, read from the file itself: no Docker is needed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.stages.settings import PipelineConfig

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "docker-compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

VARIABLE = re.compile(r"\$\{([A-Z_]+)(?:(:[-?])([^}]*))?\}")
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN")
WITH_THE_CODE = {
    "init", "api-server", "scheduler", "dag-processor", "triggerer", "clean-up", "worker", "training-worker",
}  # fmt: skip

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_the_workers_and_their_queue_alone_are_in_a_profile() -> None:
    celery = {name for name, service in SERVICES.items() if service.get("profiles") == ["celery"]}
    assert celery == {"redis", "worker", "training-worker"}
    assert {name for name, service in SERVICES.items() if "profiles" not in service} == SERVICES.keys() - celery


def test_the_older_docker_compose_reads_it() -> None:
    assert set(COMPOSE) - {key for key in COMPOSE if key.startswith("x-")} == {"services", "networks", "volumes"}


# Privileges, capabilities, namespaces and read-only files are held by compose-lint: see test_linters.py.


@each_service
def test_a_service_is_watched_started_again_and_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["restart"] == ("no" if name == "init" else "unless-stopped")
    assert re.fullmatch(r"(\$\{[A-Z_]+:-)?\d+[mg]\}?", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 4096
    assert service["logging"]["options"]["max-size"]
    assert int(service["logging"]["options"]["max-file"]) > 1
    assert service["tmpfs"]


@each_service
def test_a_service_is_nobody_special(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].partition(":")[0] not in {"", "0", "root"}
    # Which Caddy's image does not start without, and a user who is not root does not get
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])


@each_service
def test_the_proxy_alone_has_ports_and_they_are_open_to_this_machine_alone_by_default(name: str) -> None:
    service = SERVICES[name]
    ports = service.get("ports", [])
    assert bool(ports) == (name == "proxy")
    for port in ports:
        assert re.fullmatch(r"\$\{BIND:-127\.0\.0\.1\}:\$\{HTTPS?_PORT:-\d+\}:\d+", port)


def neighbours(name: str) -> set[str]:
    """Return the services that a service shares a network with."""
    own = set(SERVICES[name]["networks"])
    return {other for other, service in SERVICES.items() if other != name and own & set(service["networks"])}


AIRFLOW = {"api-server", "scheduler", "dag-processor", "triggerer", "worker", "training-worker"}
RUNS_TASKS = {"scheduler", "worker", "training-worker"}
NEIGHBOURS = {
    "predictor": {"proxy"},
    "proxy": {"predictor", "mlflow", "api-server"},
    "redis": RUNS_TASKS,
    "postgres": {*AIRFLOW, "init", "clean-up", "mlflow"},
    "mlflow": {"proxy", "postgres", "init", "clean-up", *AIRFLOW},
}


@pytest.mark.parametrize(("name", "expected"), NEIGHBOURS.items(), ids=NEIGHBOURS)
def test_a_service_reaches_what_it_needs_and_nothing_else(name: str, expected: set[str]) -> None:
    """Lost otherwise: an image that breaks the predictor's decoder reaches Airflow's database and the queue of tasks."""
    assert neighbours(name) == expected


@each_service
def test_a_service_shares_a_network_with_whom_it_calls(name: str) -> None:
    text = yaml.safe_dump(SERVICES[name])
    called = {other for other in SERVICES if re.search(rf"[@/]{other}[:/]", text)} - {name}
    if name in ("dag-processor", "triggerer", "worker", "training-worker"):
        called |= {"api-server"}  # their health, or the tasks' API
    if "profiles" not in SERVICES[name] and name not in RUNS_TASKS:
        called -= {"redis"}  # in the environment that all of Airflow has in common
    if name in ("init", "clean-up"):
        called -= {"api-server"}
    if name not in RUNS_TASKS | {"proxy"}:
        called -= {"mlflow"}
    assert called <= neighbours(name)


def test_only_what_calls_out_is_in_a_network_that_leads_out() -> None:
    outside = {name for name, network in COMPOSE["networks"].items() if not (network or {}).get("internal")}
    assert {name for name, service in SERVICES.items() if outside & set(service["networks"])} == {"proxy", *AIRFLOW}
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name


def test_each_secret_opens_one_door() -> None:
    """Lost otherwise: who reads MLflow's environment signs in to Airflow, because one key signed the sessions of both."""
    uses: dict[str, set[str]] = {}
    for service in SERVICES.values():
        for variable, value in service["environment"].items():
            for secret, _, _ in VARIABLE.findall(str(value)):
                if SECRET.search(secret):
                    uses.setdefault(secret, set()).add(variable)
    applications = {
        secret: {"mlflow" if variable.startswith("MLFLOW") else "airflow" for variable in variables}
        for secret, variables in uses.items()
    }
    assert uses["MLFLOW_SECRET_KEY"] == {"MLFLOW_FLASK_SERVER_SECRET_KEY"}
    assert all(len(found) == 1 for secret, found in applications.items() if secret.endswith("_KEY")), applications
    predictor = VARIABLE.findall(str(SERVICES["predictor"]["environment"]))
    assert {secret for secret, _, _ in predictor if SECRET.search(secret)} == {"PREDICTOR_TOKEN"}


def test_the_predictor_answers_to_the_installations_name_alone() -> None:
    assert SERVICES["predictor"]["environment"]["SKINLESION_SERVE_HOSTS"] == "${DOMAIN:-localhost},predictor"


@each_service
def test_code_is_mounted_read_only(name: str) -> None:
    service = SERVICES[name]
    for volume in service["volumes"]:
        if volume.startswith("./"):
            assert volume.endswith(":ro"), volume


def test_what_is_kept_lies_in_named_volumes() -> None:
    assert set(COMPOSE["volumes"]) == {"postgres", "dataset", "models", "logs", "mlflow", "queue", "caddy"}
    for name in WITH_THE_CODE:
        assert {"${DATASET:-dataset}:/app/dataset", "${MODELS:-models}:/app/models"} <= set(SERVICES[name]["volumes"])
    assert "${MODELS:-models}:/app/models:ro" in SERVICES["predictor"]["volumes"]


def test_no_secret_has_a_default_and_a_missing_one_is_named() -> None:
    secrets = {(name, operator, text) for name, operator, text in VARIABLE.findall(TEXT) if SECRET.search(name)}
    assert secrets
    for name, operator, text in secrets:
        assert operator == "" or (operator == ":?" and text.startswith(f"{name} is missing")), name
    checked = {name for name, operator, _ in secrets if operator == ":?"}
    assert checked == {name for name, _, _ in secrets}


def test_no_secret_stands_in_the_file() -> None:
    for name, service in SERVICES.items():
        for variable, value in service["environment"].items():
            if SECRET.search(variable):
                assert VARIABLE.fullmatch(str(value)), f"{name}: {variable}"


def test_the_secrets_that_make_writes_are_those_that_are_wanted(tmp_path: Path) -> None:
    script = PROJECT / "tools" / "write-secrets.sh"
    subprocess.run([script], cwd=tmp_path, check=True)
    env = tmp_path / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    written = dict(line.split("=", 1) for line in env.read_text().splitlines())
    assert set(written) == {name for name, operator, _ in VARIABLE.findall(TEXT) if operator == ":?"}
    assert len(set(written.values())) == len(written)
    assert all(len(value) >= 24 for value in written.values())
    before = env.read_text()
    subprocess.run([script], cwd=tmp_path, check=True)
    assert env.read_text() == before


def test_one_that_is_missing_is_added_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ADMIN_PASSWORD=chosen by hand\nJWT_SECRET=\n")
    subprocess.run([PROJECT / "tools" / "write-secrets.sh"], cwd=tmp_path, check=True)
    text = (tmp_path / ".env").read_text()
    assert text.startswith("ADMIN_PASSWORD=chosen by hand\n")
    assert text.count("ADMIN_PASSWORD=") == 1
    assert re.search(r"^JWT_SECRET=[0-9a-f]{64}$", text, re.MULTILINE)


def test_settings_reach_what_runs_tasks_and_the_predictor_has_its_own() -> None:
    files = {name: service["env_file"] for name, service in SERVICES.items() if "env_file" in service}
    predictor = files.pop("predictor")
    assert predictor == ["${PREDICTOR_SETTINGS:-deploy/predictor.env}"]
    assert set(files) == WITH_THE_CODE
    assert all(file == ["${SETTINGS:-deploy/settings.env}"] for file in files.values())


@pytest.mark.parametrize(("file", "settings"), [("settings", PipelineConfig), ("predictor", ServerSettings)])
def test_the_files_of_settings_set_nothing_and_show_settings_that_there_are(
    file: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (PROJECT / "deploy" / f"{file}.env").read_text().splitlines()
    assert all(line.startswith("#") for line in lines)
    prefix = settings.model_config["env_prefix"]
    shown = dict(re.findall(rf"^# {prefix}(\w+)=(\S+)$", "\n".join(lines), re.MULTILINE))
    assert shown
    assert {name.lower() for name in shown} <= set(settings.model_fields)
    for name, value in shown.items():
        monkeypatch.setenv(f"{prefix}{name}", value)
    read, usual = settings().model_dump(), {name: field.default for name, field in settings.model_fields.items()}
    assert all(read[name.lower()] != usual[name.lower()] for name in shown)


def test_training_has_a_queue_and_a_worker_of_its_own() -> None:
    assert SERVICES["worker"]["command"][-1] == "default"
    assert SERVICES["training-worker"]["command"][1:] == ["--queues", "training", "--concurrency", "1"]


def test_a_worker_without_its_executor_says_what_to_do() -> None:
    script = PROJECT / "deploy" / "image" / "start-worker"
    environment = {"AIRFLOW__CORE__EXECUTOR": "LocalExecutor", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "EXECUTOR=CeleryExecutor" in done.stderr
