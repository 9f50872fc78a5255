"""A server, a data set to bring files into, and runs of a source that are killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.data.sources.data_set import Collected, NewConfig
from tests.data.sources.faulty_server import Server
from tests.data.sources.killed_runs import KilledRuns
from tests.data.sources.killed_runs import killed_runs as killed

from skinlesion.data.sources import collect, http_download, isic_api, isic_archive, object_store
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import atomic, layout
from skinlesion.stages.settings import PipelineConfig


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.02))
        thread.start()
        yield running
        running.is_closing.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test cuts the power, no server needs a rest, and none speaks TLS, whose certificates each client would read."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(atomic, "flush_all", lambda folder: None)
    monkeypatch.setattr(http_download, "pause", lambda seconds: None)
    monkeypatch.setattr(isic_archive, "pause", lambda seconds: None)
    monkeypatch.setattr(isic_api, "FIRST_WAIT", 0)
    monkeypatch.setattr(isic_archive, "ROUNDS", 2)
    monkeypatch.setattr(object_store, "FIRST_WAIT", 0)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    layout.images(folder).mkdir(parents=True)
    layout.labels(folder).mkdir()
    return folder


@pytest.fixture
def config(dataset: Path) -> NewConfig:
    def make(**settings: object) -> PipelineConfig:
        fast = {"network_timeout": 1, "network_attempts": 3, "drop_settle_seconds": 0, "ingest_wait": 0, "workers": 2}
        return PipelineConfig.of({"dataset": dataset} | fast | settings)

    return make


@pytest.fixture
def collected(config: NewConfig) -> Collected:
    def run(**settings: object) -> SourceSummary:
        (report,) = collect(config(**settings)).values()
        return report

    return run


@pytest.fixture(params=[4, pytest.param(None, marks=pytest.mark.slow)], ids=["some steps", "every step"])
def killed_runs(request: pytest.FixtureRequest) -> KilledRuns:
    return partial(killed, most=request.param)
