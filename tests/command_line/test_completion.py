"""What the shell offers when Tab is pressed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.plugins.models_folder import many
from tests.trained import skinlesion

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Offered:
    """Return a function that gives what bash would offer for the last of the words."""

    def offered(*words: str) -> list[str]:
        monkeypatch.setenv("_SKINLESION_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(("skinlesion", *words)))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return skinlesion().stdout.split()

    return offered


def test_a_setting_is_offered_with_its_value_now(offered: Offered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_EPOCHS", "3")
    assert offered("run", "--set", "epo") == ["epochs=3"]


def test_a_setting_with_choices_is_offered_with_each(offered: Offered) -> None:
    assert offered("train", "--set", "fine_t") == ["fine_tune=none", "fine_tune=tail", "fine_tune=full"]
    assert offered("train", "--set", "forc") == ["force=true", "force=false"]


def test_the_versions_of_the_models_folder_are_offered_newest_first(offered: Offered, tmp_path: Path) -> None:
    many(tmp_path, 12)
    assert offered("models", "show", "--models", str(tmp_path), "1") == ["12", "11", "10", "1"]
    assert offered("models", "promote", "--models", str(tmp_path), "7") == ["7"]


def test_where_no_registry_can_be_read_no_version_is_offered(offered: Offered, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "versions.jsonl").write_text("no registry\n")
    assert offered("models", "show", "--models", str(tmp_path), "") == []


def test_completing_loads_no_heavy_package() -> None:
    command = "import json, sys, skinlesion.command_line.main; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert {"pandas", "numpy", "tensorflow", "keras", "cv2", "mlflow", "airflow"} & set(
        json.loads(done.stdout)
    ) == set()
