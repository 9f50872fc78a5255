"""A file over a line that breaks, from servers that are slow, change it, or lie."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.sources.faulty_server import Answer, Fault, Server
from tests.data.sources.killed_runs import KilledRuns
from tests.strange_files import STRANGE, make_strange, watched

from skinlesion.data.sources import http_download
from skinlesion.data.sources.http_download import Unavailable
from skinlesion.foundation.checksum import Checksum
from skinlesion.foundation.errors import DataError

BODY = random.Random(0).randbytes(300_000)
Download = Callable[..., bytes]
MD5 = Checksum("md5", hashlib.md5(BODY).hexdigest(), "known")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "a.zip"


@pytest.fixture
def download(target: Path) -> Download:
    def run(
        address: str, checksum: Checksum | None = None, limit: int = 10**9, attempts: int = 3, timeout: float = 1
    ) -> bytes:
        http_download.download(address, target, checksum=checksum, limit=limit, timeout=timeout, attempts=attempts)
        return target.read_bytes()

    return run


def ranges(server: Server) -> list[str | None]:
    return [headers.get("Range") for _, headers in server.requests]


def test_a_download_leaves_the_file_and_nothing_else(server: Server, download: Download, target: Path) -> None:
    assert download(server.put("/a", BODY), MD5) == BODY
    assert [path.name for path in target.parent.iterdir()] == ["a.zip"]


def test_cut_at_fifty_random_bytes_it_goes_on_each_time(server: Server, download: Download) -> None:
    dice = random.Random(1)
    address = server.put("/a", BODY)
    server.faults = [Fault(cut=dice.randrange(1, len(BODY) // 60)) for _ in range(50)]
    assert download(address, MD5) == BODY
    assert len(server.requests) == 51
    starts = [int(str(wanted).removeprefix("bytes=").rstrip("-")) for wanted in ranges(server)[1:]]
    assert starts == sorted(starts)
    assert starts[0] > 0, "what arrived is not asked for again"


def test_a_stalled_answer_is_given_up_and_asked_for_again(server: Server, download: Download) -> None:
    address = server.put("/a", BODY)
    server.faults = [Fault(stall=200_000)]
    assert download(address, MD5) == BODY
    assert ranges(server) == [None, "bytes=200000-"]


def test_no_server_is_told(download: Download) -> None:
    with pytest.raises(Unavailable, match="refused"):
        download("http://127.0.0.1:9/a")


@pytest.mark.parametrize("changes", ["between calls", "and says nothing", "and knows no ranges"])
def test_a_file_that_changed_is_started_anew_and_never_mixed(server: Server, download: Download, changes: str) -> None:
    address = server.put("/a", BODY)
    server.faults = [Fault(cut=100_000), *[Fault(status=500)] * 3]
    with pytest.raises(Unavailable):
        download(address)
    other = BODY[::-1]
    server.put("/a", other, etag='"two"')
    if changes == "and says nothing":  # the server takes the old version's If-Range for its own: only its ETag tells
        server.answer_at("/a").headers["Last-Modified"] = '"one"'
    if changes == "and knows no ranges":
        server.knows_ranges = False
    assert download(address, Checksum("md5", hashlib.md5(other).hexdigest(), "known")) == other


def test_without_a_validator_nothing_is_resumed(server: Server, download: Download) -> None:
    server.content["/a"] = BODY
    server.faults = [Fault(cut=100_000)]
    assert download(server.address + "/a", MD5) == BODY
    assert ranges(server) == [None, None]


def test_a_weak_etag_is_no_validator_but_a_date_is(server: Server, download: Download) -> None:
    address = server.put("/a", BODY, etag='W/"one"')
    server.answer_at("/a").headers["Last-Modified"] = "Mon, 01 Jan 2024 00:00:00 GMT"
    server.faults = [Fault(cut=100_000)]
    assert download(address, MD5) == BODY
    assert server.requests[1][1]["If-Range"] == "Mon, 01 Jan 2024 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(stall=0), "3 attempts in a row brought no more"),
        (Fault(cut=100_000), "100000 of 300000 bytes arrived, then 3 attempts in a row"),
        (Fault(claim=len(BODY) + 1000), "attempts in a row brought no more"),
        (Fault(headers={"Content-Encoding": "gzip"}), "sends it as gzip"),
    ],
    ids=["silent", "cut, without ranges", "longer than it says", "compressed"],
)
def test_an_answer_that_goes_wrong_each_time_ends_in_an_error(
    server: Server, download: Download, fault: Fault, said: str
) -> None:
    address = server.put("/a", BODY)
    server.knows_ranges = fault.cut is None
    server.faults = [fault] * 20
    with pytest.raises(Unavailable, match=said):
        download(address, timeout=0.1 if fault.stall == 0 else 1)
    assert len(server.requests) <= 5


def test_one_corrupt_byte_is_found_and_the_file_fetched_again(server: Server, download: Download) -> None:
    address = server.put("/a", BODY)
    server.faults = [Fault(flip=5)]
    assert download(address, MD5) == BODY
    assert len(server.requests) == 2


@pytest.mark.parametrize("served", [BODY[:-1] + b"x", BODY[:1000]], ids=["another byte", "the length that it claims"])
def test_a_wrong_checksum_names_file_expected_and_found(
    server: Server, download: Download, target: Path, served: bytes
) -> None:
    address = server.put("/a", served if len(served) == len(BODY) else BODY)
    server.faults = [Fault(claim=len(served))] * 2
    with pytest.raises(DataError) as error:
        download(address, MD5)
    assert address in str(error.value)
    assert f"Expected md5 {MD5.digest} (known), found {hashlib.md5(served).hexdigest()}" in str(error.value)
    assert "after 2 downloads" in str(error.value)
    assert list(target.parent.iterdir()) == []


TELLS = {
    "S3": {"ETag": f'"{MD5.digest}"', "x-amz-request-id": "1"},
    "Google": {"x-goog-hash": "crc32c=AAAAAA==,md5={base64}"},
    "any": {"Content-MD5": "{base64}"},
}


@pytest.mark.parametrize("who", TELLS)
def test_without_a_known_checksum_the_servers_is_checked(server: Server, download: Download, who: str) -> None:
    in_base64 = b64encode(bytes.fromhex(MD5.digest)).decode()
    headers = {name: value.format(base64=in_base64) for name, value in TELLS[who].items()}
    server.content["/a"] = Answer(BODY, headers)
    server.faults = [Fault(flip=7), Fault(flip=8)]
    with pytest.raises(DataError, match=rf"Expected md5 {MD5.digest} \(sent by the server\)"):
        download(server.address + "/a")
    assert download(server.address + "/a") == BODY


OF_S3 = {"x-amz-request-id": "1"}
NO_MD5 = {
    "no S3": {"ETag": '"0123456789abcdef0123456789abcdef"'},
    "several parts": {"ETag": '"0123456789abcdef0123456789abcdef-7"'} | OF_S3,
    "a key of KMS": {"ETag": f'"{"0" * 32}"', "x-amz-server-side-encryption": "aws:kms"} | OF_S3,
    "nonsense": {"Content-MD5": "nonsense"},
}


@pytest.mark.parametrize("kind", NO_MD5)
def test_what_only_looks_like_an_md5_is_not_compared(server: Server, download: Download, kind: str) -> None:
    server.content["/a"] = Answer(BODY, NO_MD5[kind])
    assert download(server.address + "/a") == BODY


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_wrong_address_is_one_clear_error_and_not_retried(server: Server, download: Download, status: int) -> None:
    server.faults = [Fault(status=status)]
    with pytest.raises(DataError, match=rf"/nothing: the server answers {status} .*; expected the file"):
        download(server.address + "/nothing")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(server: Server, download: Download, status: int) -> None:
    address = server.put("/a", BODY)
    server.faults = [Fault(status=status)] * 2
    assert download(address) == BODY


def test_a_server_says_how_long_to_wait(server: Server, download: Download, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(http_download, "pause", waits.append)
    address = server.put("/a", BODY)
    server.faults = [Fault(status=503, headers={"Retry-After": "7"})]
    assert download(address) == BODY
    assert waits == [7.0]


def test_a_file_that_is_too_large_is_not_begun(server: Server, download: Download, target: Path) -> None:
    with pytest.raises(DataError, match=r"has 300,000 bytes; expected at most 1,000\. It is not downloaded"):
        download(server.put("/a", BODY), limit=1000)
    assert not target.exists()


def test_a_file_without_a_length_ends_at_the_limit(server: Server, download: Download) -> None:
    server.tells_length = False
    assert download(server.put("/a", BODY), MD5) == BODY
    with pytest.raises(Unavailable, match="more than 1000 bytes came"):
        download(server.put("/b", BODY), limit=1000)


def test_a_disk_without_room_is_told_before_the_download(
    server: Server, download: Download, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(OSError, match=r"needs 300,000 more bytes; 1,000 are free"):
        download(server.put("/a", BODY))


def test_redirects_are_followed_with_the_range(server: Server, download: Download) -> None:
    server.put("/real", BODY)
    server.content["/a"] = Answer(b"", {"Location": server.address + "/real"}, 302)
    server.faulty = "/real"
    server.faults = [Fault(cut=100_000)]
    assert download(server.address + "/a", MD5) == BODY
    assert [(path, headers.get("Range")) for path, headers in server.requests] == [
        ("/a", None),
        ("/real", None),
        ("/a", "bytes=100000-"),
        ("/real", "bytes=100000-"),
    ]


def test_killed_before_any_step_the_next_call_completes_it(
    server: Server, target: Path, download: Download, killed_runs: KilledRuns
) -> None:
    address = server.put("/a", BODY)

    def cut_once() -> None:
        server.faults = [Fault(cut=100_000)]

    for _ in killed_runs(lambda: download(address, MD5), cut_once, at_least=2):
        assert not target.exists() or target.read_bytes() == BODY
        server.faults.clear()
        if not target.exists():
            assert download(address, MD5) == BODY
        target.unlink()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_is_not_retried_as_the_network(
    server: Server, download: Download, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        if mode == "ab":
            raise OSError(number, os.strerror(number), str(path))
        return real(path, mode, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match=os.strerror(number)):
        download(server.put("/a", BODY))
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_in_the_place_of_what_had_arrived_is_replaced(
    server: Server, download: Download, target: Path, kind: str
) -> None:
    target.parent.mkdir()
    for name in (f"{target.name}.part", f"{target.name}.part.json"):
        make_strange(kind, target.parent / name)
    with watched(target.parent):
        assert download(server.put("/a", BODY), MD5) == BODY
