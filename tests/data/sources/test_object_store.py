"""A prefix of an object store: a server that speaks S3, behind one that cuts and corrupts; and other kinds of fsspec."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import boto3  # type: ignore[import-untyped]  # has no types
import fsspec
import httpx
import pytest
from botocore.config import Config
from fsspec import AbstractFileSystem
from moto.server import ThreadedMotoServer
from tests.data.sources.data_set import Collected, NewConfig, jpeg, visible
from tests.data.sources.faulty_server import Answer, Fault, Handler, Server
from tests.data.sources.killed_runs import KilledRuns

from skinlesion.data.sources import collect, intake, object_store
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

PREFIX = "s3://lesions/new"
OBJECTS = {
    "a.jpg": jpeg(1),
    "clinic/b.jpg": jpeg(2),
    "clinic/c.png": jpeg(3),
    "clinic/labels.csv": b"image,dx\na,nv\n",
}
KEPT = {
    "images/a.jpg": jpeg(1),
    "images/clinic/b.jpg": jpeg(2),
    "images/clinic/c.png": jpeg(3),
    "labels/clinic__labels.csv": b"image,dx\na,nv\n",
}


def data(dataset: Path) -> dict[str, bytes]:
    return {name: content for name, content in visible(dataset).items() if not name.startswith("tables/")}


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


def test_a_changed_object_alone_is_asked_for_again(bucket: Bucket, dataset: Path) -> None:
    bucket.take()
    bucket.put("new/a.jpg", jpeg(11))
    bucket.server.requests.clear()
    report = bucket.take()
    assert (report.arrived, report.already_there) == (1, 3)
    assert data(dataset) == KEPT | {"images/a.jpg": jpeg(11)}
    assert bucket.requested() == {"/lesions/new/a.jpg"}


def test_a_key_that_could_lead_elsewhere_is_not_taken(empty_bucket: Bucket, dataset: Path, tmp_path: Path) -> None:
    keys = ("../../up.jpg", "a\\b.jpg", "x/../y.jpg", "tab\t.jpg", "n" * 205 + ".jpg")
    for key in keys:
        empty_bucket.put(f"new/{key}", b"x")
    report = empty_bucket.take()
    assert (report.arrived, report.failed) == (0, len(keys))
    assert data(dataset) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"dataset"}


# --- Faults ---------------------------------------------------------------------------------------------------------

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
    spoiled = bytearray(jpeg(1))
    spoiled[900] ^= 0xFF
    expected, found = hashlib.md5(jpeg(1)).hexdigest(), hashlib.md5(spoiled).hexdigest()

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


# --- What is new, changed, gone or in the way: from a folder, which is the quickest store ---------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    (folder / "clinic").mkdir(parents=True)
    for name, content in OBJECTS.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def shelved(shelf: Path, collected: Collected) -> Collected:
    return lambda **settings: collected(object_store=f"file://{shelf}", connections=2, **settings)


def test_new_and_changed_objects_are_copied_and_tables_too(shelf: Path, shelved: Collected, dataset: Path) -> None:
    assert shelved().arrived == 4
    assert data(dataset) == KEPT
    (shelf / "a.jpg").write_bytes(jpeg(11))
    (shelf / "d.jpg").write_bytes(jpeg(4))
    (shelf / "clinic" / "labels.csv").write_bytes(b"image,dx\na,mel\n")
    report = shelved()
    assert (report.arrived, report.already_there) == (3, 2)
    changed = {"images/a.jpg": jpeg(11), "images/d.jpg": jpeg(4), "labels/clinic__labels.csv": b"image,dx\na,mel\n"}
    assert data(dataset) == KEPT | changed


def test_a_copy_that_is_missing_is_made_again(shelved: Collected, dataset: Path) -> None:
    shelved()
    (dataset / "images" / "a.jpg").unlink()
    assert shelved().arrived == 1
    assert data(dataset) == KEPT


def test_force_copies_and_compares_everything_again(
    shelved: Collected, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelved()
    copies, copy = [], object_store._copy

    def counted_copy(store: AbstractFileSystem, item: object_store.StoredObject, path: Path) -> None:
        copies.append(item)
        copy(store, item, path)

    monkeypatch.setattr(object_store, "_copy", counted_copy)
    report = shelved(force=True)
    assert (report.arrived, report.already_there, len(copies)) == (0, 4, 4)
    assert data(dataset) == KEPT


def test_a_full_disk_stops_the_source(shelved: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(object_store, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        shelved()


def test_an_object_that_went_away_stays_in_the_data_set(shelf: Path, shelved: Collected, dataset: Path) -> None:
    shelved()
    (shelf / "a.jpg").unlink()
    assert shelved().already_there == 3
    assert data(dataset) == KEPT


def test_a_copy_that_somebody_changed_is_not_overwritten(shelf: Path, shelved: Collected, dataset: Path) -> None:
    shelved()
    (dataset / "images" / "a.jpg").write_bytes(jpeg(99))
    (shelf / "a.jpg").write_bytes(jpeg(11))
    assert "the name is taken by a.jpg" in shelved().failed_because["a.jpg"]
    assert (dataset / "images" / "a.jpg").read_bytes() == jpeg(99)


def test_a_name_of_other_content_is_not_overwritten_and_equal_content_is_known(
    shelved: Collected, dataset: Path
) -> None:
    (dataset / "images" / "b.png").write_bytes(jpeg(99))
    (dataset / "images" / "a.jpg").write_bytes(jpeg(1))
    report = shelved()
    assert (report.arrived, report.already_there) == (2, 1)
    assert list(report.failed_because) == ["clinic/b.jpg"]
    assert (dataset / "images" / "b.png").read_bytes() == jpeg(99)
    assert shelved().already_there == 3


def test_an_object_too_large_for_an_image_is_not_copied(shelf: Path, shelved: Collected) -> None:
    with (shelf / "film.jpg").open("wb") as file:
        file.truncate(10**9)
    report = shelved(max_image_pixels=50_176)
    assert report.failed_because == {"film.jpg": "1,000,000,000 bytes; expected at most 64,401,408"}
    assert report.arrived == 4


def test_two_objects_of_one_name_do_not_both_arrive(shelf: Path, shelved: Collected, dataset: Path) -> None:
    (shelf / "other").mkdir()
    (shelf / "other" / "a.jpg").write_bytes(jpeg(50))
    report = shelved()
    assert (report.arrived, report.failed) == (4, 1)
    assert len([name for name in data(dataset) if name.endswith("/a.jpg")]) == 1


@pytest.mark.parametrize("before", ["nothing", "an earlier version"])
def test_killed_before_any_step_nothing_is_lost_or_half_taken(
    shelf: Path, config: NewConfig, dataset: Path, killed_runs: KilledRuns, before: str
) -> None:
    settings = config(object_store=f"file://{shelf}", connections=1)

    def start_again() -> None:
        shutil.rmtree(dataset)
        layout.images(dataset).mkdir(parents=True)
        layout.labels(dataset).mkdir()
        if before == "an earlier version":
            (shelf / "a.jpg").write_bytes(jpeg(9))
            collect(settings)
        (shelf / "a.jpg").write_bytes(jpeg(1))

    for _ in killed_runs(lambda: object_store.take_stored(settings, intake.Intake(dataset)), start_again):
        assert data(dataset).items() <= KEPT.items() | {("images/a.jpg", jpeg(9))}
        (report,) = collect(settings).values()
        assert report.failed == 0
        assert data(dataset) == KEPT


# --- Other stores ---------------------------------------------------------------------------------------------------


def test_any_url_of_fsspec_will_do(collected: Collected, dataset: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe({"/lesions/new/a.jpg": jpeg(1), "/lesions/new/sub/t.csv": b"image,dx\n"})
    try:
        assert collected(object_store="memory://lesions/new").arrived == 2
        assert collected(object_store="memory://lesions/new").already_there == 2
        assert data(dataset) == {"images/a.jpg": jpeg(1), "labels/sub__t.csv": b"image,dx\n"}
    finally:
        memory.rm("/lesions", recursive=True)


def test_a_bucket_of_google_is_read_with_its_checksums(server: Server, collected: Collected, dataset: Path) -> None:
    objects = {"new/a.jpg": jpeg(1), "new/clinic/b.jpg": jpeg(2)}

    def describe(name: str) -> dict[str, object]:
        md5 = b64encode(hashlib.md5(objects[name]).digest()).decode()
        return {"kind": "storage#object", "bucket": "lesions", "name": name, "size": len(objects[name]), "md5Hash": md5}

    def serve(handler: Handler) -> Answer:
        path, query = unquote(urlparse(handler.path).path), parse_qs(urlparse(handler.path).query)
        name = path.partition("/o/")[2]
        if name in objects and ("/download/" in path or query.get("alt") == ["media"]):
            return Answer(objects[name])
        if name in objects:
            return Answer(json.dumps(describe(name)).encode(), {"Content-Type": "application/json"})
        found = [describe(name) for name in objects if name.startswith(query.get("prefix", [""])[0])]
        return Answer(json.dumps({"items": found}).encode(), {"Content-Type": "application/json"})

    server.fallback = serve
    server.faulty, server.faults = "a.jpg", [Fault(flip=900)]
    report = collected(object_store="gs://lesions/new", object_store_endpoint=server.address)
    assert (report.arrived, report.failed, server.faults) == (2, 0, [])
    assert data(dataset) == {"images/a.jpg": jpeg(1), "images/clinic/b.jpg": jpeg(2)}


@pytest.mark.parametrize("url", ["nosuch://bucket/prefix"])
def test_a_kind_of_store_that_nobody_knows_is_one_clear_error(collected: Collected, url: str) -> None:
    with pytest.raises(DataError, match=r"Setting `object_store`: nosuch://bucket/prefix cannot be opened"):
        collected(object_store=url)


def test_secrets_in_a_url_are_refused(config: NewConfig) -> None:
    with pytest.raises(DataError, match="Setting `object_store`"):
        config(object_store="s3://key:secret@bucket/prefix")
