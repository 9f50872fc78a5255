"""The lock file holds both TensorFlows, apart: `tensorflow-cpu` for everybody, Nvidia's for those who ask."""

from __future__ import annotations

import importlib.metadata
import subprocess
import tomllib
from pathlib import Path

import pytest

from skinlesion.network import accelerator

PROJECT = Path(__file__).resolve().parents[2]


def test_the_lock_has_tensorflow_twice_and_an_environment_once() -> None:
    # Lost before: `tensorflow-cpu` was a dependency of the package, so that no environment could have the other.
    packages = tomllib.loads((PROJECT / "uv.lock").read_text())["package"]
    own = next(one for one in packages if one["name"] == "skinlesion")
    assert not {"tensorflow", "tensorflow-cpu"} & {one["name"] for one in own["dependencies"]}
    assert [one["name"] for one in own["dev-dependencies"]["cpu"]] == ["tensorflow-cpu"]
    assert [one["name"] for one in own["optional-dependencies"]["gpu"]] == ["tensorflow"]
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["uv"]
    assert "cpu" in settings["default-groups"]
    assert settings["conflicts"] == [[{"group": "cpu"}, {"extra": "gpu"}]]


@pytest.mark.parametrize("installed", ["tensorflow", "tensorflow-cpu"])
def test_a_training_records_the_tensorflow_that_there_is(installed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lost before: with Nvidia's package a training ended in PackageNotFoundError once everything was trained.
    def version(name: str) -> str:
        if name != installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.21.0"

    monkeypatch.setattr(accelerator, "version", version)
    assert accelerator.tensorflow_installed() == {installed: "2.21.0"}


def test_make_installs_nvidias_where_it_is_asked_for() -> None:
    said = {
        gpu: subprocess.run(
            ["make", "--dry-run", "--always-make", ".venv/installed", f"GPU={gpu}", "UV=uv"],
            cwd=PROJECT, capture_output=True, text=True, check=True,
        ).stdout
        for gpu in ("", "1")
    }  # fmt: skip
    assert "--no-group cpu --extra gpu" in said["1"]
    assert "--extra" not in said[""]
