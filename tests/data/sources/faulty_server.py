"""A server on this machine that cuts, stalls, lies and corrupts as a test asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.strange_files import flipped

STALL_SECONDS = 4
"""Longer than the time-out of the tests, which is a second."""


@dataclass(frozen=True)
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
            body = flipped(body, fault.flip % len(body))
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

    def answer_at(self, path: str) -> Answer:
        answer = self.content[path]
        assert isinstance(answer, Answer)
        return answer

    def put(self, path: str, body: bytes, etag: str = '"one"') -> str:
        """Serve bytes with an ETag. Returns their address."""
        self.content[path] = Answer(body, {"ETag": etag})
        return self.address + path

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the tests are about."""
