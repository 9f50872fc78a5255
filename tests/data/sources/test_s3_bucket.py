"""A prefix of a bucket of S3: a server that speaks S3, behind one that cuts and corrupts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # has no types
import httpx
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer
from tests.data.sources.data_set import Collected, jpeg
from tests.data.sources.faulty_server import Answer, Fault, Handler, Server
from tests.data.sources.stored_objects import KEPT, OBJECTS, data
from tests.strange_files import flipped

from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

PREFIX = "s3://lesions/new"


class Bucket:
    """OBJECTS in a bucket of a server that speaks S3, behind another that may do it harm."""

    def __init__(self, client: Any, server: Server, collected: Collected) -> None:
        self.client, self.server, self.collected = client, server, collected

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket="lesions", Key=key, Body=body)

    def take(self, url: str = PREFIX, **settings: object) -> SourceSummary:
        return self.collected(object_store=url, object_store_endpoint=self.server.address, connections=2, **settings)

    def requested(self) -> set[str]:
        return {path for path, _ in self.server.requests if re.search(self.server.faulty, path)}

    def answer_through(self, change: Callable[[Answer], Answer]) -> None:
        """Change each answer of the server of S3 on its way."""
        pass_on = self.server.fallback
        assert pass_on
        self.server.fallback = lambda handler: change(pass_on(handler))


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Return the address of a server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(verify=False) as client:  # the servers are here and speak no TLS
        yield client


@pytest.fixture(scope="module")
def s3_client(moto: str) -> Iterator[Any]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=moto, config=Config(retries={"max_attempts": 1}), **keys)
    yield client
    client.close()


@pytest.fixture
def empty_bucket(
    server: Server, moto: str, http: httpx.Client, s3_client: Any, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    http.post(f"{moto}/moto-api/reset")
    s3_client.create_bucket(Bucket="lesions")

    def pass_on(handler: Handler) -> Answer:
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in ("host", "connection")}
        back = http.request(handler.command, moto + handler.path, headers=headers)
        left_out = ("content-length", "connection", "transfer-encoding", "date", "server")
        kept = {name: value for name, value in back.headers.items() if name.lower() not in left_out}
        return Answer(back.content, kept, back.status_code)

    server.fallback = pass_on
    server.faulty = r"/lesions/new/"
    return Bucket(s3_client, server, collected)


@pytest.fixture
def bucket(empty_bucket: Bucket) -> Bucket:
    for key, body in OBJECTS.items():
        empty_bucket.put(f"new/{key}", body)
    return empty_bucket


def test_images_and_tables_below_the_prefix_are_copied_once(bucket: Bucket, dataset: Path) -> None:
    for key in ("new/notes.txt", "new/.hidden.jpg", "newer/z.jpg"):
        bucket.put(key, b"x")
    report = bucket.take()
    assert (report.arrived, report.failed) == (4, 0)
    assert data(dataset) == KEPT
    bucket.server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()}
    report = bucket.take()
    assert (report.arrived, report.already_there) == (0, 4)
    assert bucket.requested() == set(), "what is known is not asked for"
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()} == before


def test_a_key_that_could_lead_elsewhere_is_not_taken(empty_bucket: Bucket, dataset: Path, tmp_path: Path) -> None:
    keys = ("../../up.jpg", "a\\b.jpg", "x/../y.jpg", "tab\t.jpg", "n" * 205 + ".jpg")
    for key in keys:
        empty_bucket.put(f"new/{key}", b"x")
    report = empty_bucket.take()
    assert (report.arrived, report.failed) == (0, len(keys))
    assert data(dataset) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"dataset"}


FAULTS = {
    "cut": Fault(cut=700),
    "longer than it says": Fault(claim=700),
    "shorter than it says": Fault(claim=100_000),
    "corrupt": Fault(flip=900),
}


def test_answers_gone_wrong_are_asked_for_again(bucket: Bucket, dataset: Path) -> None:
    bucket.server.faults = [*FAULTS.values(), Fault(stall=700), Fault(status=503)]
    report = bucket.take(network_attempts=8)
    assert bucket.server.faults == []
    assert (report.arrived, report.failed) == (4, 0)
    assert data(dataset) == KEPT


@pytest.mark.parametrize("kind", FAULTS)
def test_one_broken_object_is_counted_and_does_not_stop_the_others(bucket: Bucket, dataset: Path, kind: str) -> None:
    bucket.server.faulty = r"/lesions/new/a\.jpg"
    bucket.server.faults = [FAULTS[kind]] * 20
    report = bucket.take()
    assert (report.arrived, report.failed) == (3, 1)
    assert "(after 3 attempts)" in report.failed_because["a.jpg"]
    assert "images/a.jpg" not in data(dataset)
    assert not list(layout.images(dataset).glob(".*")), "nothing half-taken stays"
    bucket.server.faults.clear()
    assert bucket.take().arrived == 1
    assert data(dataset) == KEPT


def test_a_corrupt_object_names_what_was_expected_and_found(bucket: Bucket) -> None:
    bucket.server.faulty = r"/lesions/new/a\.jpg"
    bucket.server.faults = [Fault(flip=900)] * 9
    expected, found = (hashlib.md5(content).hexdigest() for content in (jpeg(1), flipped(jpeg(1), 900)))

    def with_md5_alone(back: Answer) -> Answer:
        """Amazon tells another checksum too, which its library compares; a public bucket's server may not."""
        kept = {name: value for name, value in back.headers.items() if "checksum" not in name.lower()}
        return Answer(back.body, kept, back.status)

    bucket.answer_through(with_md5_alone)
    assert f"expected MD5 {expected}, found {found} (after 3 attempts)" in bucket.take().failed_because["a.jpg"]


def test_an_etag_of_another_key_is_not_taken_for_an_md5(bucket: Bucket) -> None:
    """Amazon's ETag of what a key of KMS encrypts looks like an MD5 and is none."""

    def with_other_etags(back: Answer) -> Answer:
        body = re.sub(rb'<ETag>"[0-9a-f]{32}"', b'<ETag>"0123456789abcdef0123456789abcdef"', back.body)
        kms = {"x-amz-server-side-encryption": "aws:kms", "ETag": '"0123456789abcdef0123456789abcdef"'}
        headers = {name: value for name, value in back.headers.items() if name.lower() != "etag"}
        return Answer(body, headers | kms, back.status)

    bucket.answer_through(with_other_etags)
    assert bucket.take().arrived == 4


def test_a_store_that_does_not_answer_is_an_error_that_a_retry_may_cure(empty_bucket: Bucket) -> None:
    empty_bucket.server.address = "http://127.0.0.1:9"
    with pytest.raises(OSError, match=r"s3://lesions/new cannot be listed: .*127\.0\.0\.1:9"):
        empty_bucket.take(network_attempts=2)


@pytest.mark.parametrize("url", ["s3://lesions/nothing-here", "s3://no-such-bucket/new"])
def test_a_prefix_that_does_not_exist_is_one_clear_error(bucket: Bucket, url: str) -> None:
    with pytest.raises(DataError, match=rf"{url} does not exist or holds nothing"):
        bucket.take(url)


def test_a_prefix_that_may_not_be_read_is_one_clear_error(empty_bucket: Bucket) -> None:
    denied = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    empty_bucket.answer_through(lambda back: Answer(denied, {"Content-Type": "application/xml"}, 403))
    with pytest.raises(DataError, match=r"may not be read \(.*Access Denied.*\)\. Give credentials in the environment"):
        empty_bucket.take()


def test_without_credentials_a_bucket_is_read_as_a_public_one(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key in OBJECTS:
        bucket.client.put_object_acl(Bucket="lesions", Key=f"new/{key}", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert bucket.take().arrived == 4
    assert not any("Authorization" in headers for _, headers in bucket.server.requests)
