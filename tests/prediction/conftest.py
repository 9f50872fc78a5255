"""A real server on this machine, a models folder with two versions that a test can switch between, images to send."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import SecretStr
from tests.two_classifiers import RULE

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.server import listening_socket, make_server
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.registry import in_service, model_files
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import RULE_FILE
from skinlesion.registry.release import name_release_files, put_in_service, write_record
from skinlesion.stages.settings import PipelineConfig

# The processes that tests start take this path over; pytest itself puts nothing on it.
sys.path.append(str(Path(__file__).with_name("serving")))

UNSURE = RULE | {"least_confidence": 1.01}
"""Answers nothing."""


@dataclass
class Models:
    """A models folder."""

    folder: Path
    two_classifiers: Path
    switches: int = 0
    releases: list[Path] = field(default_factory=list)

    def switch_to(
        self,
        name: str,
        rule: dict[str, Any] | None = RULE,
        *,
        alter: dict[str, bytes] | None = None,
        named: dict[str, bytes] | None = None,
    ) -> Path:
        """Put a version in service, as a promotion does: a release folder, then one rename.

        alter: other contents of files, by name, than the record says. named: others, of which the record knows.
        """
        self.switches += 1
        release = layout.releases(self.folder) / f"{self.switches:06d}"
        release.mkdir(parents=True)
        for file in (model_files.H5, model_files.TFLITE):
            shutil.copyfile(self.two_classifiers / name / file, release / file)
        for file, content in (named or {}).items():
            (release / file).write_bytes(content)
        (release / RULE_FILE).write_text(json.dumps(rule))
        sha256 = {file: sha256_of(release / file) for file in (model_files.H5, model_files.TFLITE)}
        for file, content in (alter or {}).items():
            (release / file).write_bytes(content)
        entry = HistoryEntry(
            at="2026-11-25T02:00:00+00:00",
            what="promoted",
            actor="test",
            version="ab".index(name) + 1,
            reason="test",
            switch=self.switches,
        )
        record = in_service.InService(run=f"run-{name}", sha256=sha256, decision_rule=rule, entry=entry)
        write_record(release, record)
        put_in_service(self.folder, release)
        name_release_files(self.folder)
        self.releases.append(release)
        return release


@dataclass
class Served:
    """A server that listens."""

    address: str
    port: int
    client: httpx.Client

    def predict(self, *images: bytes, **options: Any) -> httpx.Response:
        """Send images as image0.jpg, image1.jpg, ..."""
        files = [("images", (f"image{number}.jpg", image, "image/jpeg")) for number, image in enumerate(images)]
        return self.client.post("/v1/predict", files=files, **options)

    def is_alive(self) -> bool:
        return self.client.get("/healthz").status_code == 200


@pytest.fixture(scope="session")
def drawn() -> Callable[..., bytes]:
    """Gives a drawn JPEG; another seed, another picture."""

    def draw(seed: int, size: tuple[int, int] = (300, 225)) -> bytes:
        rng = np.random.default_rng(seed)
        dx = ("nv", "mel", "bcc", "ak")[seed % 4]
        return encode_jpeg(draw_view(draw_lesion(dx, rng, size[1]), rng, size), 92)

    return draw


@pytest.fixture
def empty_models(two_classifiers: Path, tmp_path: Path) -> Models:
    """A models folder with nothing in service."""
    (tmp_path / "models").mkdir()
    return Models(tmp_path / "models", two_classifiers)


@pytest.fixture
def models(empty_models: Models) -> Models:
    """A models folder with version a in service, with `RULE`."""
    empty_models.switch_to("a", RULE)
    return empty_models


@contextmanager
def running(folder: Path, *, token: str = "", overlay: Any = None, **settings: Any) -> Iterator[Served]:
    chosen = ServerSettings.of({"port": 0, "threads": 2, "watch_seconds": 0.05, **settings})
    app = create_app(
        PipelineConfig.of({"models": folder}), chosen, SecretStr(token) if token else None, overlay=overlay
    )
    listener = listening_socket(chosen)
    port = listener.getsockname()[1]
    server = make_server(app, chosen)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        address = f"http://127.0.0.1:{port}/"
        with httpx.Client(base_url=address, timeout=30, headers=headers) as client:
            yield Served(address, port, client)
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


def wait_until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if is_so():
            return
        done.wait(0.05)
    raise AssertionError(f"not so within {seconds} seconds")


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Gives a server of a models folder for the length of a `with`, ready unless `is_ready=False`."""

    @contextmanager
    def ready(folder: Path, *, is_ready: bool = True, **options: Any) -> Iterator[Served]:
        with running(folder, **options) as served:
            if is_ready:
                wait_until(lambda: served.client.get("/readyz").status_code == 200)
            yield served

    return ready


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="module")
def shared(two_classifiers: Path, tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[Served]:
    """A server of version a for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared") / "models"
    folder.mkdir()
    Models(folder, two_classifiers).switch_to("a", RULE)
    with serve(folder) as served:
        yield served


@pytest.fixture(scope="session")
def rule() -> dict[str, Any]:
    return RULE


@pytest.fixture(scope="session")
def unsure() -> dict[str, Any]:
    """A decision rule that answers nothing."""
    return UNSURE


@pytest.fixture(scope="session")
def problem() -> Callable[[httpx.Response], dict[str, Any]]:
    """Gives the problem document of a response, and fails unless it is one."""

    def document(response: httpx.Response) -> dict[str, Any]:
        assert response.headers["content-type"] == "application/problem+json", response.text
        found: dict[str, Any] = json.loads(response.text)
        assert found["status"] == response.status_code
        assert found["type"].startswith("urn:problem:skinlesion:")
        assert found["detail"]
        return found

    return document
