"""Uploads that are too much, too slow or no uploads: a problem document, and the next request is answered."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
from tests.prediction.real_server import Models, Served, answer_to, drawn, problem, served, upload_head, wait_until

from skinlesion.prediction.serving import api, image_queue
from skinlesion.prediction.serving.settings import MIB

MULTIPART = "multipart/form-data; boundary=XX"
END = b"--XX--\r\n"


def part(name: str, content: bytes, field: str = "images") -> bytes:
    head = f'--XX\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n"


def post(server: Served, body: bytes | Iterator[bytes], kind: str = MULTIPART, **headers: str) -> httpx.Response:
    return server.client.post("/v1/predict", content=body, headers={"Content-Type": kind, **headers})


@pytest.fixture(autouse=True)
def _is_answered_afterwards(shared: Served) -> Iterator[None]:
    yield
    assert shared.predict(drawn(1)).status_code == 200


def test_an_upload_that_says_it_is_too_large_is_refused_before_it_is_sent(shared: Served) -> None:
    status, body = answer_to(shared.port, upload_head(f"Content-Length: {200 * MIB}"))
    assert status == 413
    assert json.loads(body)["type"] == "urn:problem:skinlesion:upload-too-large"
    assert "32 MiB" in json.loads(body)["detail"]


def test_a_client_that_sends_it_all_the_same_gets_the_answer(shared: Served) -> None:
    problem(post(shared, part("a.jpg", bytes(40 * MIB)) + END), 413)


def test_an_upload_without_a_length_is_refused_when_it_has_brought_too_much(shared: Served) -> None:
    problem(post(shared, (part(f"{number}.jpg", bytes(4 * MIB)) for number in range(50))), 413)


def test_one_image_may_not_be_as_large_as_an_upload(shared: Served) -> None:
    found = problem(post(shared, part("big.jpg", bytes(21 * MIB)) + END), 413)
    assert "'big.jpg' is larger than the 20 MiB" in found["detail"]


def test_a_thousand_parts_are_too_many(shared: Served) -> None:
    found = problem(post(shared, b"".join(part(f"{number}.jpg", b"x") for number in range(1000)) + END), 413)
    assert "more than 64 images" in found["detail"]


def test_an_upload_that_takes_too_long_is_ended(models: Models) -> None:
    with served(models.folder, upload_seconds=0.5) as server:
        for begun in (b"", part("a.jpg", b"begun")):
            status, body = answer_to(server.port, upload_head("Content-Length: 90000") + begun)
            assert (status, json.loads(body)["type"]) == (408, "urn:problem:skinlesion:upload-too-slow")
        assert server.predict(drawn(1)).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Header: " + b"x" * 20_000, b"\x16\x03\x01 hello\r\n\r\n"],
    ids=["headers that are too large", "no HTTP"],
)
def test_what_is_no_request_is_refused(shared: Served, sent: bytes) -> None:
    assert answer_to(shared.port, sent)[0] == 400


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"{}", "application/json", 415, "Expected multipart/form-data"),
        (b"x", "multipart/form-data", 400, "Missing boundary"),
        (b"--\r\n\r\nx\r\n----\r\n", 'multipart/form-data; boundary=""', 400, "no multipart"),
        (b"hello", MULTIPART, 400, "no multipart"),
        (b"", MULTIPART, 400, "ends before the form does"),
        (END, MULTIPART, 422, "no image"),
        (part("a.jpg", b"x"), MULTIPART, 400, "closing boundary is missing"),
        (part("a.jpg", b"x", field="files") + END, MULTIPART, 422, "named 'files'"),
        (b'--XX\r\nContent-Disposition: form-data; name="images"\r\n\r\nx\r\n' + END, MULTIPART, 422, "is no file"),
        (b"--XX\r\n" + b"X-Header: 1\r\n" * 100 + b"\r\nx\r\n" + END, MULTIPART, 400, "header count"),
        (b"--XX\r\nX-Header: " + b"x" * 9000 + b"\r\n\r\nx\r\n" + END, MULTIPART, 400, "header size"),
    ],
)
def test_a_malformed_request_is_told_what_is_wrong(
    shared: Served, body: bytes, kind: str, status: int, words: str
) -> None:
    assert words in problem(post(shared, body, kind), status)["detail"]


def test_a_compressed_body_is_not_unpacked(shared: Served) -> None:
    assert "Compressed" in problem(post(shared, b"x", **{"Content-Encoding": "gzip"}), 415)["detail"]


def test_names_are_given_back_harmless_and_short(shared: Served) -> None:
    body = part("\x1b[31m" + "x" * 300, drawn(1)) + END
    (said_of,) = post(shared, body).json()["predictions"]
    assert said_of["file"].startswith("�[31mxxx")
    assert len(said_of["file"]) == 200


def test_uploads_beyond_the_memory_set_aside_are_told_to_come_again(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "UPLOADS_IN_MEMORY", 1 / 1024)
    with served(models.folder, max_upload_bytes=32 * MIB) as server:
        assert server.predict(drawn(1)).status_code == 200
        with socket.create_connection(("127.0.0.1", server.port)) as holding:
            holding.sendall(upload_head("Content-Length: 90000") + part("a.jpg", bytes(28 * 1024)))
            for _ in range(20):  # before it has answered so often, the server has read what was sent
                assert server.status_of("/healthz") == 200
            response = server.predict(drawn(1))
            assert problem(response, 503)["type"] == "urn:problem:skinlesion:busy"
            assert response.headers["retry-after"] == "1"
        wait_until(lambda: server.predict(drawn(1)).status_code == 200)  # what was held is given back


def test_images_beyond_the_queue_are_told_to_come_again(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_queue, "REQUESTS_WAITING", 0.5)
    with served(models.folder, max_images=4) as server:
        assert server.predict(drawn(1), drawn(2)).status_code == 200
        problem(server.predict(drawn(1), drawn(2), drawn(3)), 503)
        assert server.predict(drawn(1), drawn(2)).status_code == 200


def test_connections_beyond_the_most_are_turned_away(models: Models) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with served(models.folder, connections=4) as server:
        server.client.close()
        held = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
        wait_until(lambda: answer_to(server.port, request)[0] == 503)
        held.pop().close()
        wait_until(lambda: answer_to(server.port, request)[0] == 200)
        for connection in held:
            connection.close()


def test_no_byte_of_an_upload_is_written_to_disk(shared: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def rollover(self: object) -> None:
        raise AssertionError("an upload was moved to a temporary file")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", rollover)
    assert post(shared, part("a.jpg", bytes(19 * MIB)) + END).status_code == 422
