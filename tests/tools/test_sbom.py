"""`make sbom`: what the image and an environment consist of."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
OWN_UV = PROJECT / ".uv" / "bin" / "uv"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    uv = os.environ.get("UV") or shutil.which("uv") or (str(OWN_UV) if OWN_UV.exists() else None)
    if uv is None:
        pytest.skip("uv is not there")
    folder = tmp_path_factory.mktemp("sbom")
    done = subprocess.run(
        ["tools/sbom.sh", folder], cwd=PROJECT, env=os.environ | {"UV": uv}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"lock.cdx.json", "environment.cdx.json"}
    return folder


def components(path: Path) -> dict[str, dict[str, Any]]:
    document = json.loads(path.read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "skinlesion"
    return {one["name"].replace("_", "-").lower(): one for one in document["components"]}


def test_the_document_of_the_lock_lists_what_the_image_installs_with_its_hashes(documents: Path) -> None:
    found = components(documents / "lock.cdx.json")
    locked = {one["name"]: one.get("version") for one in tomllib.loads((PROJECT / "uv.lock").read_text())["package"]}
    assert {name: one["version"] for name, one in found.items()}.items() <= locked.items()
    assert found["tensorflow-cpu"]["purl"] == f"pkg:pypi/tensorflow-cpu@{locked['tensorflow-cpu']}"
    assert {"apache-airflow", "keras", "model-signing"} <= found.keys()
    assert "pytest" not in found, "the image has no tools of developers"
    assert all(
        reference["hashes"][0]["alg"] == "SHA-256"
        for reference in found["keras"]["externalReferences"]
        if reference["type"] == "distribution" and "hashes" in reference
    )


def test_the_document_of_an_environment_lists_what_is_installed(documents: Path) -> None:
    found = components(documents / "environment.cdx.json")
    for name in ("tensorflow-cpu", "keras", "pytest"):
        assert found[name]["version"] == importlib.metadata.version(name)
