"""A prefix of an object store: a server that speaks S3, behind one that cuts and corrupts; and other kinds of fsspec."""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from base64 import b64encode
from collections.abc import Iterator
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
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

PREFIX = "s3://lesions/new"


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
    client = boto3.client(
        "s3",
        endpoint_url=moto,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # what the server takes
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}),
    )
    yield client
    client.close()


@pytest.fixture
def s3(server: Server, moto: str, http: httpx.Client, s3_client: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a client of the S3 server, which has one empty bucket; `server` stands before it and may do it harm."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
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
    return s3_client


class Store:
    """A bucket with three images and a table below a prefix, and what becomes of them in the data set."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.objects = {
            "a.jpg": jpeg(1),
            "clinic/b.jpg": jpeg(2),
            "clinic/c.png": jpeg(3),
            "clinic/labels.csv": b"image,dx\na,nv\n",
        }
        self.kept = {
            "images/a.jpg": jpeg(1),
            "images/clinic/b.jpg": jpeg(2),
            "images/clinic/c.png": jpeg(3),
            "labels/clinic__labels.csv": b"image,dx\na,nv\n",
        }

    def put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket="lesions", Key=f"new/{key}", Body=body)


@pytest.fixture
def store(s3: Any) -> Store:
    store = Store(s3)
    for key, body in store.objects.items():
        store.put(key, body)
    return store


@pytest.fixture
def copied(server: Server, collected: Collected) -> Collected:
    """Return a function that takes what is below the prefix."""
    return lambda url=PREFIX, **settings: collected(
        object_store=url, object_store_endpoint=server.address, connections=2, **settings
    )


def data(dataset: Path) -> dict[str, bytes]:
    return {name: content for name, content in visible(dataset).items() if not name.startswith("tables/")}


def object_requests(server: Server) -> list[str]:
    return [path for path, _ in server.requests if re.search(server.faulty, path)]


def test_images_and_tables_below_the_prefix_are_copied_once(
    store: Store, copied: Collected, dataset: Path, server: Server
) -> None:
    store.put("notes.txt", b"hello")
    store.put(".hidden.jpg", b"x")
    store.s3.put_object(Bucket="lesions", Key="newer/z.jpg", Body=b"x")
    report = copied()
    assert (report.arrived, report.failed) == (4, 0)
    assert data(dataset) == store.kept
    server.requests.clear()
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()}
    report = copied()
    assert (report.arrived, report.already_there) == (0, 4)
    assert object_requests(server) == [], "what is known is not asked for"
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*") if path.is_file()} == before


def test_a_changed_object_alone_is_asked_for_again(
    store: Store, copied: Collected, dataset: Path, server: Server
) -> None:
    copied()
    store.put("a.jpg", jpeg(11))
    server.requests.clear()
    report = copied()
    assert (report.arrived, report.already_there) == (1, 3)
    assert data(dataset) == store.kept | {"images/a.jpg": jpeg(11)}
    assert set(object_requests(server)) == {"/lesions/new/a.jpg"}


def test_a_key_that_could_lead_elsewhere_is_not_taken(
    s3: Any, copied: Collected, dataset: Path, tmp_path: Path
) -> None:
    keys = ["../../up.jpg", "a\\b.jpg", "x/../y.jpg", "tab\t.jpg", "n" * 205 + ".jpg"]
    for key in keys:
        s3.put_object(Bucket="lesions", Key=f"new/{key}", Body=b"x")
    report = copied()
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


def test_answers_gone_wrong_are_asked_for_again(store: Store, copied: Collected, dataset: Path, server: Server) -> None:
    server.faults = [*FAULTS.values(), Fault(stall=700), Fault(status=503)]
    report = copied(network_attempts=8)
    assert server.faults == []
    assert (report.arrived, report.failed) == (4, 0)
    assert data(dataset) == store.kept


@pytest.mark.parametrize("kind", FAULTS)
def test_one_broken_object_is_counted_and_does_not_stop_the_others(
    store: Store, copied: Collected, dataset: Path, server: Server, kind: str
) -> None:
    server.faulty = r"/lesions/new/a\.jpg"
    server.faults = [FAULTS[kind]] * 20
    report = copied()
    assert (report.arrived, report.failed) == (3, 1)
    assert "(after 3 attempts)" in report.failed_because["a.jpg"]
    assert "images/a.jpg" not in data(dataset)
    assert not list(layout.images(dataset).glob(".*")), "nothing half-taken stays"
    server.faults.clear()
    assert copied().arrived == 1
    assert data(dataset) == store.kept


def test_a_corrupt_object_names_what_was_expected_and_found(store: Store, copied: Collected, server: Server) -> None:
    server.faulty = r"/lesions/new/a\.jpg"
    server.faults = [Fault(flip=900)] * 9
    spoiled = bytearray(jpeg(1))
    spoiled[900] ^= 0xFF
    expected, found = hashlib.md5(jpeg(1)).hexdigest(), hashlib.md5(spoiled).hexdigest()
    # Amazon tells another checksum too, which its library compares; a public bucket's server may not.
    pass_on = server.fallback
    assert pass_on

    def with_md5_alone(handler: Handler) -> Answer:
        back = pass_on(handler)
        kept = {name: value for name, value in back.headers.items() if "checksum" not in name.lower()}
        return Answer(back.body, kept, back.status)

    server.fallback = with_md5_alone
    assert f"expected MD5 {expected}, found {found} (after 3 attempts)" in copied().failed_because["a.jpg"]


def test_an_etag_of_another_key_is_not_taken_for_an_md5(
    store: Store, copied: Collected, dataset: Path, server: Server
) -> None:
    """Amazon's ETag of what a key of KMS encrypts looks like an MD5 and is none."""
    pass_on = server.fallback
    assert pass_on

    def with_other_etags(handler: Handler) -> Answer:
        back = pass_on(handler)
        body = re.sub(rb'<ETag>"[0-9a-f]{32}"', b'<ETag>"0123456789abcdef0123456789abcdef"', back.body)
        kms = {"x-amz-server-side-encryption": "aws:kms", "ETag": '"0123456789abcdef0123456789abcdef"'}
        headers = {name: value for name, value in back.headers.items() if name.lower() != "etag"}
        return Answer(body, headers | kms, back.status)

    server.fallback = with_other_etags
    assert copied().arrived == 4


def test_a_store_that_does_not_answer_is_an_error_that_a_retry_may_cure(store: Store, collected: Collected) -> None:
    with pytest.raises(OSError, match=r"s3://lesions/new cannot be listed: .*127\.0\.0\.1:9"):
        collected(object_store=PREFIX, object_store_endpoint="http://127.0.0.1:9", network_attempts=2)


def test_a_full_disk_stops_the_source(store: Store, copied: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(object_store, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        copied()


@pytest.mark.parametrize("url", ["s3://lesions/nothing-here", "s3://no-such-bucket/new"])
def test_a_prefix_that_does_not_exist_is_one_clear_error(store: Store, copied: Collected, url: str) -> None:
    with pytest.raises(DataError, match=rf"{url} does not exist or holds nothing"):
        copied(url)


def test_a_prefix_that_may_not_be_read_is_one_clear_error(store: Store, copied: Collected, server: Server) -> None:
    denied = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    server.fallback = lambda handler: Answer(denied, {"Content-Type": "application/xml"}, 403)
    with pytest.raises(DataError, match=r"may not be read \(.*Access Denied.*\)\. Give credentials in the environment"):
        copied()


def test_without_credentials_a_bucket_is_read_as_a_public_one(
    s3: Any, store: Store, copied: Collected, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for key in store.objects:
        s3.put_object_acl(Bucket="lesions", Key=f"new/{key}", ACL="public-read")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    assert copied().arrived == 4
    assert not any("Authorization" in headers for _, headers in server.requests)


# --- What is new, changed, gone or in the way: from a folder, which is the quickest store ---------------------------


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    (folder / "clinic").mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content or jpeg(len(name)))
    return folder


CONTENTS = {"a.jpg": b"", "clinic/bb.jpg": b"", "labels.csv": b"image,dx\na,nv\n"}


@pytest.fixture
def kept() -> dict[str, bytes]:
    return {
        "images/a.jpg": jpeg(5),
        "images/clinic/bb.jpg": jpeg(13),
        "labels/labels.csv": b"image,dx\na,nv\n",
    }


@pytest.fixture
def shelved(shelf: Path, collected: Collected) -> Collected:
    return lambda **settings: collected(object_store=f"file://{shelf}", connections=2, **settings)


def test_new_and_changed_objects_are_copied_and_tables_too(
    shelf: Path, shelved: Collected, dataset: Path, kept: dict[str, bytes]
) -> None:
    assert shelved().arrived == 3
    assert data(dataset) == kept
    (shelf / "a.jpg").write_bytes(jpeg(11))
    (shelf / "d.jpg").write_bytes(jpeg(4))
    (shelf / "labels.csv").write_bytes(b"image,dx\na,mel\n")
    report = shelved()
    assert (report.arrived, report.already_there) == (3, 1)
    changed = {"images/a.jpg": jpeg(11), "images/d.jpg": jpeg(4), "labels/labels.csv": b"image,dx\na,mel\n"}
    assert data(dataset) == kept | changed


def test_a_copy_that_is_missing_is_made_again(shelved: Collected, dataset: Path, kept: dict[str, bytes]) -> None:
    shelved()
    (dataset / "images" / "a.jpg").unlink()
    assert shelved().arrived == 1
    assert data(dataset) == kept


def test_force_copies_and_compares_everything_again(
    shelved: Collected, dataset: Path, kept: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelved()
    copies, copy = [], object_store._copy

    def counted_copy(store: AbstractFileSystem, item: object_store.StoredObject, path: Path) -> None:
        copies.append(item)
        copy(store, item, path)

    monkeypatch.setattr(object_store, "_copy", counted_copy)
    report = shelved(force=True)
    assert (report.arrived, report.already_there, len(copies)) == (0, 3, 3)
    assert data(dataset) == kept


def test_an_object_that_went_away_stays_in_the_data_set(
    shelf: Path, shelved: Collected, dataset: Path, kept: dict[str, bytes]
) -> None:
    shelved()
    (shelf / "a.jpg").unlink()
    assert shelved().already_there == 2
    assert data(dataset) == kept


def test_a_copy_that_somebody_changed_is_not_overwritten(shelf: Path, shelved: Collected, dataset: Path) -> None:
    shelved()
    (dataset / "images" / "a.jpg").write_bytes(jpeg(99))
    (shelf / "a.jpg").write_bytes(jpeg(11))
    assert "the name is taken by a.jpg" in shelved().failed_because["a.jpg"]
    assert (dataset / "images" / "a.jpg").read_bytes() == jpeg(99)


def test_a_name_of_other_content_is_not_overwritten_and_equal_content_is_known(
    shelved: Collected, dataset: Path
) -> None:
    layout.images(dataset).joinpath("bb.png").write_bytes(jpeg(99))
    layout.images(dataset).joinpath("a.jpg").write_bytes(jpeg(5))
    report = shelved()
    assert (report.arrived, report.already_there) == (1, 1)
    assert list(report.failed_because) == ["clinic/bb.jpg"]
    assert layout.images(dataset).joinpath("bb.png").read_bytes() == jpeg(99)
    assert shelved().already_there == 2


def test_an_object_too_large_for_an_image_is_not_copied(shelf: Path, shelved: Collected) -> None:
    with (shelf / "film.jpg").open("wb") as file:
        file.truncate(10**9)
    report = shelved(max_image_pixels=50_176)
    assert report.failed_because == {"film.jpg": "1,000,000,000 bytes; expected at most 64,401,408"}
    assert report.arrived == 3


def test_two_objects_of_one_name_do_not_both_arrive(shelf: Path, shelved: Collected, dataset: Path) -> None:
    (shelf / "other").mkdir()
    (shelf / "other" / "a.jpg").write_bytes(jpeg(50))
    report = shelved()
    assert (report.arrived, report.failed) == (3, 1)
    assert len([name for name in data(dataset) if name.endswith("/a.jpg")]) == 1


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


@pytest.mark.parametrize("before", ["nothing", "an earlier version"])
def test_killed_before_any_step_nothing_is_lost_or_half_taken(
    config: NewConfig, dataset: Path, tmp_path: Path, killed_runs: KilledRuns, before: str
) -> None:
    shelf = tmp_path / "shelf"
    (shelf / "sub").mkdir(parents=True)
    (shelf / "sub" / "b.jpg").write_bytes(jpeg(2))
    (shelf / "t.csv").write_bytes(b"image,dx\n")
    kept = {"images/a.jpg": jpeg(1), "images/sub/b.jpg": jpeg(2), "labels/t.csv": b"image,dx\n"}
    settings = config(object_store=f"file://{shelf}", connections=1)

    def start_again() -> None:
        shutil.rmtree(dataset)
        layout.images(dataset).mkdir(parents=True)
        layout.labels(dataset).mkdir()
        if before == "an earlier version":
            (shelf / "a.jpg").write_bytes(jpeg(3))
            collect(settings)
        (shelf / "a.jpg").write_bytes(jpeg(1))

    def take() -> None:
        object_store.take_stored(settings, intake.Intake(dataset))

    for _ in killed_runs(take, start_again):
        assert data(dataset).items() <= kept.items() | {("images/a.jpg", jpeg(3))}
        (report,) = collect(settings).values()
        assert report.failed == 0
        assert data(dataset) == kept
