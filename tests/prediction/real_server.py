"""A real server on this machine, a models folder with two versions that a test can switch between, images to send."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydantic import SecretStr
from tests.training_record import write_training_record
from tests.two_classifiers import RULE

from skinlesion.data.images.file import encode_jpeg
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.network.litert import LiteRTModel
from skinlesion.prediction.classifier import Probabilities, pixels_for_model
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.documents import Predictions
from skinlesion.prediction.serving.grad_cam_process import Overlay
from skinlesion.prediction.serving.server import listening_socket, make_server
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.registry import model_files
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.in_service import InService
from skinlesion.registry.register import register
from skinlesion.registry.release import name_release_files, put_in_service
from skinlesion.stages.settings import PipelineConfig

UNSURE = RULE | {"least_confidence": 1.01}
"""A decision rule that answers nothing."""


@cache
def drawn(seed: int, size: tuple[int, int] = (300, 225)) -> bytes:
    """Return a drawn JPEG; another seed, another picture."""
    rng = np.random.default_rng(seed)
    dx = ("nv", "mel", "bcc", "ak")[seed % 4]
    return encode_jpeg(draw_view(draw_lesion(dx, rng, size[1]), rng, size), 92)


def probabilities(version: Path, images: Iterable[bytes]) -> list[Probabilities]:
    """Return what the LiteRT file in a version's folder says of each image, asked without a server."""
    model = LiteRTModel(version / model_files.TFLITE)
    return [model(pixels_for_model(image, max_pixels=10**8, min_side=32)) for image in images]


@dataclass
class Models:
    """A models folder."""

    folder: Path
    two_classifiers: Path
    releases: list[Path] = field(default_factory=list)

    def switch_to(
        self,
        name: str,
        rule: Mapping[str, object] = RULE,
        *,
        version: int | None = None,
        alter: Mapping[str, bytes] | None = None,
        named: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Put a version in service, as a promotion does: a release folder, then one rename. Return the folder.

        alter: other contents of files, by name, than the record says. named: others, of which the record knows.
        """
        switch = len(self.releases) + 1
        release = layout.releases(self.folder) / f"{switch:06d}"
        release.mkdir(parents=True)
        for file in (model_files.H5, model_files.TFLITE):
            shutil.copyfile(self.two_classifiers / name / file, release / file)
        for file, content in (named or {}).items():
            (release / file).write_bytes(content)
        rule_file = release / model_files.RULE_FILE
        rule_file.write_text(json.dumps(rule))
        sha256 = {
            file: sha256_of(release / file) for file in (model_files.H5, model_files.TFLITE, model_files.RULE_FILE)
        }
        for file, content in (alter or {}).items():
            (release / file).write_bytes(content)
        entry = HistoryEntry(
            at="2026-11-25T02:00:00+00:00",
            what="promoted",
            actor="test",
            version=version or "ab".index(name) + 1,
            reason="test",
            switch=switch,
        )
        decision_rule = json.loads(rule_file.read_text())
        record = InService(run=f"run-{name}", sha256=sha256, decision_rule=decision_rule, entry=entry)
        record.write(release / model_files.RECORD)
        put_in_service(self.folder, release)
        name_release_files(self.folder)
        self.releases.append(release)
        return release


def add_candidate(models: Path, two_classifiers: Path, name: str, run: str) -> Candidate:
    """Register a candidate that is one of the two classifiers, and return it."""
    candidate = Candidate(layout.candidate(models, run))
    shutil.copytree(two_classifiers / name, candidate.folder)
    (candidate.folder / model_files.TFLITE).rename(candidate.tflite)
    write_training_record(candidate)
    register(models, candidate)
    return candidate


@dataclass
class Served:
    """A server that listens."""

    address: str
    port: int
    client: httpx.Client

    def predict(self, *images: bytes, case: str = "") -> httpx.Response:
        """Send images of a case as image0.jpg, image1.jpg, ..."""
        files = [("images", (f"image{number}.jpg", image, "image/jpeg")) for number, image in enumerate(images)]
        return self.client.post("/v1/predict", files=files, data={"case": case} if case else {})

    def predictions(self, *images: bytes, case: str = "") -> list[dict[str, Any]]:
        """Return what is said of each image."""
        answer = self.predict(*images, case=case).raise_for_status().json()
        Predictions.model_validate(answer, extra="forbid")
        return list(answer["predictions"])

    def prediction(self, image: bytes) -> dict[str, Any]:
        """Return what is said of one image."""
        (said,) = self.predictions(image)
        return said

    def model(self) -> dict[str, Any]:
        """Return the description of the model that answers."""
        return dict(self.client.get("/v1/model").json())

    def metrics(self) -> str:
        return self.client.get("/metrics").text

    def wait_for(self, version: str) -> None:
        """Wait until this version answers, and the server holds no other for the one in service."""
        wait_until(lambda: self.model()["version"] == version)
        assert self.model()["refused"] == ""

    def wait_for_refusal(self, part: str) -> str:
        """Wait until the model in service is refused with these words; return all of them."""
        wait_until(lambda: part in self.model()["refused"])
        return str(self.model()["refused"])

    def status_of(self, path: str) -> int:
        return self.client.get(path).status_code


@contextmanager
def served(
    folder: Path, *, token: str = "", overlay: Overlay | None = None, is_ready: bool = True, **settings: object
) -> Iterator[Served]:
    """Serve a models folder for the length of a `with`, once it is ready unless `is_ready=False`."""
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
        with httpx.Client(base_url=address, timeout=30, headers=headers, verify=False) as client:
            found = Served(address, port, client)
            if is_ready:
                wait_until(lambda: found.status_of("/readyz") == 200)
            yield found
    finally:
        server.should_exit = True
        thread.join(30)
    assert not thread.is_alive()


@contextmanager
def serving_with_shadow(models: Path, log: Path) -> Iterator[httpx.Client]:
    """Run `skinlesion serve`, as a process of its own, with a prediction log and a candidate in the shadow."""
    program = Path(sys.executable).with_name("skinlesion")
    environment = os.environ | {"SKINLESION_SERVE_LOG": str(log), "SKINLESION_SERVE_SHADOW": "true"}
    command = [str(program), "serve", "--models", str(models), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.findall(r"http://\S+", server.stdout.readline())[0]
            with httpx.Client(base_url=address, timeout=30) as client:
                wait_until(lambda: client.get("/readyz").status_code == 200, 120)
                yield client
        finally:
            server.terminate()
            server.wait(60)


def wait_until(is_so: Callable[[], object], seconds: float = 20) -> None:
    done = threading.Event()
    for _ in range(int(seconds / 0.05)):
        if is_so():
            return
        done.wait(0.05)
    raise AssertionError(f"not so within {seconds} seconds")


def upload_head(*headers: str) -> bytes:
    """Return the head of an upload whose parts are separated by XX."""
    kind = "Content-Type: multipart/form-data; boundary=XX"
    lines = ["POST /v1/predict HTTP/1.1", "Host: localhost", kind, *headers, "Connection: close"]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def answer_to(port: int, sent: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to bytes that are sent as they are, with nothing after them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Return the problem document of a response; fail unless it is one and has that status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json", response.text
    found: dict[str, Any] = json.loads(response.text)
    assert found["status"] == status
    assert found["type"].startswith("urn:problem:skinlesion:")
    assert found["detail"]
    return found
