"""Uploads that are too much, too slow or no uploads: a problem document soon, and the next request is answered."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

MIB = 2**20
SOON = 5.0
"""Seconds in which a refusal comes, while other programs keep all cores busy."""


def part(name: str, content: bytes, field: str = "images") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def post(
    served: Any, body: bytes | Iterator[bytes], kind: str = "multipart/form-data; boundary=XX", **headers: str
) -> Any:
    start = time.monotonic()
    response = served.client.post("/v1/predict", content=body, headers={"Content-Type": kind, **headers})
    assert time.monotonic() - start < SOON
    return response


def answer_to(port: int, sent: bytes) -> tuple[int, bytes]:
    """Return the status and the body of the answer to bytes that are sent as they are, with nothing after them."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(sent)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


@pytest.fixture(autouse=True)
def _is_answered_afterwards(shared: Any, drawn: Callable[..., bytes]) -> Iterator[None]:
    yield
    assert shared.predict(drawn(1)).status_code == 200


def test_an_upload_that_says_it_is_too_large_is_refused_before_it_is_sent(shared: Any, problem: Any) -> None:
    head = (
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\n"
        f"Content-Length: {200 * MIB}\r\nConnection: close\r\n\r\n"
    )
    start = time.monotonic()
    status, body = answer_to(shared.port, head.encode())
    assert status == 413
    assert json.loads(body)["type"] == "urn:problem:skinlesion:upload-too-large"
    assert "32 MiB" in json.loads(body)["detail"]
    assert time.monotonic() - start < SOON


def test_a_client_that_sends_it_all_the_same_gets_the_answer(shared: Any, problem: Any) -> None:
    response = post(shared, part("a.jpg", bytes(40 * MIB)) + b"--XX--\r\n")
    assert response.status_code == 413
    problem(response)


def test_an_upload_without_a_length_is_refused_when_it_has_brought_too_much(shared: Any, problem: Any) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for number in range(50):
            yield part(f"{number}.jpg", bytes(4 * MIB))
            sent += 4

    response = post(shared, chunks())
    assert response.status_code == 413
    problem(response)


def test_one_image_may_not_be_as_large_as_an_upload(shared: Any, problem: Any) -> None:
    response = post(shared, part("big.jpg", bytes(21 * MIB)) + b"--XX--\r\n")
    assert response.status_code == 413
    assert "'big.jpg' is larger than the 20 MiB" in problem(response)["detail"]


def test_a_thousand_parts_are_too_many(shared: Any, problem: Any) -> None:
    response = post(shared, b"".join(part(f"{number}.jpg", b"x") for number in range(1000)) + b"--XX--\r\n")
    assert response.status_code == 413
    assert "more than 64 parts" in problem(response)["detail"]


@pytest.mark.parametrize("first", [b"", part("a.jpg", b"begun")])
def test_an_upload_that_takes_too_long_is_ended_and_its_memory_is_free_again(
    models: Any, serve: Any, drawn: Callable[..., bytes], first: bytes
) -> None:
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: 90000\r\nConnection: close\r\n\r\n"
    with serve(models.folder, upload_seconds=0.5) as served:
        start = time.monotonic()
        status, body = answer_to(served.port, head + first)
        assert time.monotonic() - start < SOON
        assert (status, json.loads(body)["type"]) == (408, "urn:problem:skinlesion:upload-too-slow")
        assert served.predict(drawn(1)).status_code == 200


def test_headers_that_are_too_large_are_refused(shared: Any) -> None:
    status, _ = answer_to(shared.port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Header: " + b"x" * 20_000)
    assert status == 400


def test_what_is_no_http_is_refused(shared: Any) -> None:
    status, _ = answer_to(shared.port, b"\x16\x03\x01 hello\r\n\r\n")
    assert status == 400


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"{}", "application/json", 415, "Expected multipart/form-data"),
        (b"x", "multipart/form-data", 400, "Missing boundary"),
        (b"--\r\n\r\nx\r\n----\r\n", 'multipart/form-data; boundary=""', 400, "no multipart"),
        (b"hello", "multipart/form-data; boundary=XX", 400, "no multipart"),
        (b"", "multipart/form-data; boundary=XX", 400, "ends before the form does"),
        (b"--XX--\r\n", "multipart/form-data; boundary=XX", 422, "no image"),
        (part("a.jpg", b"x"), "multipart/form-data; boundary=XX", 400, "closing boundary is missing"),
        (part("a.jpg", b"x", field="files") + b"--XX--\r\n", "multipart/form-data; boundary=XX", 422, "named 'files'"),
        (b'--XX\r\nContent-Disposition: form-data; name="images"\r\n\r\nx\r\n--XX--\r\n', "multipart/form-data; boundary=XX", 422, "is no file"),
        (b"--XX\r\n" + b"X-Header: 1\r\n" * 100 + b"\r\nx\r\n--XX--\r\n", "multipart/form-data; boundary=XX", 400, "header count"),
        (b"--XX\r\nX-Header: " + b"x" * 9000 + b"\r\n\r\nx\r\n--XX--\r\n", "multipart/form-data; boundary=XX", 400, "header size"),
    ],
)  # fmt: skip
def test_a_malformed_request_is_told_what_is_wrong(
    shared: Any, problem: Any, body: bytes, kind: str, status: int, words: str
) -> None:
    response = post(shared, body, kind)
    assert response.status_code == status
    assert words in problem(response)["detail"]


def test_a_compressed_body_is_not_unpacked(shared: Any, problem: Any) -> None:
    response = post(shared, b"x", **{"Content-Encoding": "gzip"})
    assert response.status_code == 415
    assert "Compressed" in problem(response)["detail"]


def test_names_are_given_back_harmless_and_short(shared: Any, drawn: Callable[..., bytes]) -> None:
    body = part("\x1b[31m" + "x" * 300, drawn(1)) + b"--XX--\r\n"
    (said_of,) = post(shared, body).json()["predictions"]
    assert said_of["file"].startswith("�[31mxxx")
    assert len(said_of["file"]) == 200


def test_uploads_beyond_the_memory_set_aside_are_told_to_come_again(
    models: Any, serve: Any, drawn: Callable[..., bytes], problem: Any
) -> None:
    with serve(models.folder, buffered_bytes=MIB) as served:
        holding = socket.create_connection(("127.0.0.1", served.port))
        head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {2 * MIB}\r\n\r\n"
        holding.sendall(head.encode() + part("a.jpg", bytes(MIB - 5000)))
        time.sleep(0.3)
        response = served.predict(drawn(1, (600, 450)))
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert problem(response)["type"] == "urn:problem:skinlesion:busy"
        holding.close()
        time.sleep(0.3)
        assert served.predict(drawn(1, (600, 450))).status_code == 200, "what was held is given back"


def test_images_beyond_the_queue_are_told_to_come_again(
    models: Any, serve: Any, drawn: Callable[..., bytes], problem: Any
) -> None:
    with serve(models.folder, waiting_images=2) as served:
        assert served.predict(drawn(1), drawn(2)).status_code == 200
        response = served.predict(drawn(1), drawn(2), drawn(3))
        assert response.status_code == 503
        problem(response)
        assert served.predict(drawn(1), drawn(2)).status_code == 200


def test_connections_beyond_the_most_are_turned_away(models: Any, serve: Any) -> None:
    with serve(models.folder, connections=4) as served:
        served.client.close()
        time.sleep(0.3)
        held = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(4)]
        time.sleep(0.3)
        request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert answer_to(served.port, request)[0] == 503
        held.pop().close()
        time.sleep(0.3)
        assert answer_to(served.port, request)[0] == 200
        for connection in held:
            connection.close()


def test_no_byte_of_an_upload_is_written_to_disk(shared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(self: object) -> None:
        raise AssertionError("an upload was moved to a temporary file")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rollover)
    response = post(shared, part("a.jpg", bytes(19 * MIB)) + b"--XX--\r\n")
    assert response.status_code == 422
