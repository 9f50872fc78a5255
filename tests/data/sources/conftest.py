"""A server on this machine that cuts, stalls, lies and corrupts as a test asks, and a data set to bring files into."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from skinlesion.data.sources import collect, http_download, isic_api, isic_archive, object_store
from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view
from skinlesion.foundation import layout
from skinlesion.stages.settings import PipelineConfig

STALL_SECONDS = 4
"""Longer than the time-out of the tests, which is a second."""


@dataclass
class Fault:
    """What goes wrong with one answer. cut, stall: after so many bytes of the body; claim: the length that it claims."""

    cut: int | None = None
    stall: int | None = None
    claim: int | None = None
    flip: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Answer:
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


Content = bytes | Answer | Callable[["Handler"], Answer]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        answer = self.server.answer(self)
        faults = self.server.faults
        is_faulty = faults and self.command == "GET" and re.search(self.server.faulty, self.path)
        fault = faults.pop(0) if is_faulty else Fault()
        if fault.status is not None:
            answer = Answer(b"", {}, fault.status)
        self.send(self.cut_to_range(answer), fault)

    do_HEAD = do_GET  # noqa: N815

    def cut_to_range(self, answer: Answer) -> Answer:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        version = (answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        if answer.status != 200 or not wanted or not self.server.knows_ranges:
            return answer
        if self.headers.get("If-Range", version[0]) not in version:
            return answer
        start, size = int(wanted[1]), len(answer.body)
        if start >= size:
            return Answer(b"", {"Content-Range": f"bytes */{size}"}, 416)
        place = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        return Answer(answer.body[start:], answer.headers | place, 206)

    def send(self, answer: Answer, fault: Fault) -> None:
        body = answer.body
        if fault.flip is not None:
            spoiled = bytearray(body)
            spoiled[fault.flip % len(body)] ^= 0xFF
            body = bytes(spoiled)
        self.send_response(answer.status)
        claimed = len(body) if fault.claim is None else fault.claim
        lengths = {"Content-Length": str(claimed)} if self.server.tells_length else {"Connection": "close"}
        for name, value in (answer.headers | lengths | fault.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        end = next((end for end in (fault.cut, fault.stall) if end is not None), len(body))
        self.wfile.write(body[:end])
        self.wfile.flush()
        if fault.stall is not None:
            self.server.is_closing.wait(STALL_SECONDS)
        if fault.cut is not None or fault.stall is not None or claimed != len(body) or not self.server.tells_length:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """`content` maps a path to what lies there; the answers to requests that match `faulty` take the next of `faults`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, Content] = {}
        self.fallback: Callable[[Handler], Answer] | None = None
        self.faults: list[Fault] = []
        self.faulty = ""
        self.knows_ranges = self.tells_length = True
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.is_closing = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    def answer(self, handler: Handler) -> Answer:
        found = self.content.get(handler.path.partition("?")[0], self.fallback)
        if found is None:
            return Answer(b"no such file", status=404)
        if callable(found):
            return found(handler)
        return found if isinstance(found, Answer) else Answer(found)

    def put(self, path: str, body: bytes, etag: str = '"one"') -> str:
        """Serve bytes with an ETag. Returns their address."""
        self.content[path] = Answer(body, {"ETag": etag})
        return self.address + path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the tests are about."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.02))
        thread.start()
        yield running
        running.is_closing.set()
        running.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def fault() -> type[Fault]:
    return Fault


@pytest.fixture(scope="session")
def answer() -> type[Answer]:
    return Answer


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power, and no server needs a rest."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(http_download, "pause", lambda seconds: None)
    monkeypatch.setattr(isic_archive, "pause", lambda seconds: None)
    monkeypatch.setattr(isic_api, "FIRST_WAIT", 0)
    monkeypatch.setattr(isic_archive, "ROUNDS", 2)
    monkeypatch.setattr(object_store, "FIRST_WAIT", 0)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Return the bytes of a drawn JPEG; another seed draws another picture."""

    def draw(seed: int, size: tuple[int, int] = (96, 72)) -> bytes:
        picture = draw_view(draw_lesion("nv", np.random.default_rng(seed), 72), np.random.default_rng(seed), size)
        return cv2.imencode(".jpg", picture[..., ::-1])[1].tobytes()

    return draw


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    layout.images(folder).mkdir(parents=True)
    layout.labels(folder).mkdir()
    return folder


@pytest.fixture
def config(dataset: Path) -> Callable[..., PipelineConfig]:
    def make(**settings: Any) -> PipelineConfig:
        fast = {"network_timeout": 1, "network_attempts": 3, "drop_settle_seconds": 0, "ingest_wait": 0, "workers": 2}
        return PipelineConfig.of({"dataset": dataset} | fast | settings)

    return make


@pytest.fixture
def collected(config: Callable[..., PipelineConfig]) -> Callable[..., dict[str, Any]]:
    """Collect from one source and return its summary."""

    def run(**settings: Any) -> dict[str, Any]:
        (report,) = collect(config(**settings)).values()
        return report.model_dump()

    return run


@pytest.fixture(scope="session")
def visible() -> Callable[[Path], dict[str, bytes]]:
    """Return the content of each file that stages see below a folder, by its path."""

    def contents(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        }

    return contents


STEPS = ("link", "rename", "replace", "unlink")


@pytest.fixture
def killed_at() -> Callable[[int, Callable[[], Any]], bool]:
    """Run a function in a child process that is killed before its n-th change of a name on disk; return whether it was."""

    def run(step: int, work: Callable[[], Any]) -> bool:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                count = 0

                def counted(function: Callable[..., Any]) -> Callable[..., Any]:
                    def call(*arguments: Any, **options: Any) -> Any:
                        nonlocal count
                        count += 1
                        if count == step:
                            os.kill(os.getpid(), signal.SIGKILL)
                        return function(*arguments, **options)

                    return call

                for name in STEPS:
                    setattr(os, name, counted(getattr(os, name)))
                work()
                status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        if os.WIFSIGNALED(ended):
            assert os.WTERMSIG(ended) == signal.SIGKILL
            return True
        assert os.WEXITSTATUS(ended) == 0, "the child ended with an error"
        return False

    return run
