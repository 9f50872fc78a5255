"""The number of threads and processes follows a container's CPU limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skinlesion.foundation.cores import cores_allowed
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.stages.settings import PipelineConfig


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "25000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu.max": "100000 0\n"}, 8),
        ({"cpu.max": "\n"}, 8),
    ],
    ids=str,
)
def test_a_limit_is_rounded_up_and_never_gives_more_than_there_are(
    tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    assert cores_allowed(write(tmp_path, files)) == cores


def test_stages_and_server_take_it_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path, {"cpu.max": "300000 100000\n"})
    monkeypatch.setattr(cores_allowed, "__defaults__", (tmp_path,))
    assert PipelineConfig.of({}).workers_used() == 3
    assert PipelineConfig.of({"workers": 5}).workers_used() == 5
    assert ServerSettings.of({}).threads_used() == 3
    assert ServerSettings.of({"threads": 5}).threads_used() == 5
