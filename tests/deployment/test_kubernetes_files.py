"""The example values and the training pod, read from the files: no cluster is needed."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
VALUES: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "helm-values.yaml").read_text())
POD: dict[str, Any] = yaml.safe_load((PROJECT / "deploy" / "training-pod.yaml").read_text())
MOUNTS = {"dataset": "/app/dataset", "models": "/app/models"}


def test_the_values_are_for_the_airflow_that_is_locked() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert f"apache-airflow=={VALUES['airflowVersion']}" in project["dependencies"]
    assert VALUES["executor"] == "KubernetesExecutor"


@pytest.mark.parametrize("component", ["workers", "scheduler", "apiServer"])
def test_who_touches_data_mounts_it_where_the_image_expects_it(component: str) -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in VALUES[component]["extraVolumeMounts"]}
    assert MOUNTS.items() <= mounts.items()
    assert set(mounts) == {volume["name"] for volume in VALUES[component]["extraVolumes"]}


def test_training_has_more_of_the_same_than_other_tasks() -> None:
    (container,) = POD["spec"]["containers"]
    assert container["name"] == "base"  # what Airflow's executor looks for
    assert container["image"] == f"{VALUES['defaultAirflowRepository']}:{VALUES['defaultAirflowTag']}"
    assert MOUNTS.items() <= {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}.items()
    assert int(container["resources"]["limits"]["cpu"]) > int(VALUES["workers"]["resources"]["limits"]["cpu"])


def test_the_ingress_has_tls_and_the_proxys_limits() -> None:
    ingress = VALUES["ingress"]["apiServer"]
    (host,) = ingress["hosts"]
    assert ingress["enabled"] is host["tls"]["enabled"] is True
    assert VALUES["config"]["api"]["base_url"] == f"https://{host['name']}"
    limits = {name.removeprefix("nginx.org/"): value for name, value in ingress["annotations"].items()}
    # A value that is no string is no annotation
    assert all(isinstance(value, str) for value in limits.values())
    size = limits["client-max-body-size"].removesuffix("m")
    assert f"max_size {size}MiB\n\t\t}}\n\t\treverse_proxy api-server" in (PROJECT / "deploy" / "Caddyfile").read_text()
    assert limits["redirect-to-https"] == "true"
    assert limits["limit-req-rate"].endswith("r/s")


def test_nobody_is_root() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert VALUES["securityContexts"]["pod"]["runAsNonRoot"] is True
    assert POD["spec"]["securityContext"]["runAsUser"] == VALUES["uid"] == 10001


@pytest.mark.parametrize(
    ("pod", "expected"), [(None, None), ("/app/pods/x.yaml", {"pod_template_file": "/app/pods/x.yaml"})]
)
def test_the_pod_of_training_is_told_by_the_environment(
    pod: str | None, expected: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pod:
        monkeypatch.setenv("SKIN_LESION_TRAINING_POD", pod)
    else:
        monkeypatch.delenv("SKIN_LESION_TRAINING_POD", raising=False)
    settings = runpy.run_path(str(PROJECT / "plugins" / "skin_lesion_dag_settings.py"))
    assert settings["ON_TRAINING_WORKER"]["executor_config"] == expected
