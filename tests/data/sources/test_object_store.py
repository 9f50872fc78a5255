"""A prefix of any object store: what is new, changed, gone or in the way, and the kinds of store other than S3."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from base64 import b64encode
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import fsspec
import pytest
from fsspec import AbstractFileSystem
from tests.data.sources.data_set import Collected, NewConfig, jpeg
from tests.data.sources.faulty_server import Answer, Fault, Handler, Server
from tests.data.sources.killed_runs import KilledRuns
from tests.data.sources.stored_objects import KEPT, OBJECTS, data
from tests.strange_files import STRANGE, make_strange, watched

from skinlesion.data.sources import collect, intake, object_store
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

# --- A folder, which is the quickest store --------------------------------------------------------------------------


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


def test_a_lost_copy_is_made_anew_and_one_of_a_lost_object_kept(shelf: Path, shelved: Collected, dataset: Path) -> None:
    shelved()
    (dataset / "images" / "a.jpg").unlink()
    assert shelved().arrived == 1
    (shelf / "a.jpg").unlink()
    assert shelved().already_there == 3
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


def test_a_kind_of_store_that_nobody_knows_is_one_clear_error(collected: Collected) -> None:
    with pytest.raises(DataError, match=r"Setting `object_store`: nosuch://bucket/prefix cannot be opened"):
        collected(object_store="nosuch://bucket/prefix")


# --- The disk of this machine, and what a store may send ------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_full_disk_is_no_fault_of_the_network(
    shelved: Collected, monkeypatch: pytest.MonkeyPatch, number: int, is_wrapped: bool
) -> None:
    """Each object was asked for again and again, with ever longer waits, while the disk stayed full."""
    calls = []

    def full(store: AbstractFileSystem, item: object_store.StoredObject, path: Path) -> None:
        calls.append(item.name)
        try:
            raise OSError(number, "full")
        except OSError as error:
            if is_wrapped:  # as a store's library may do
                raise RuntimeError("the copy failed") from error
            raise

    monkeypatch.setattr(object_store, "_copy", full)
    with pytest.raises((OSError, RuntimeError)):
        shelved(network_attempts=5)
    assert len(calls) == len(set(calls))


def test_an_object_longer_than_the_store_lists_does_not_fill_the_disk(
    collected: Collected, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/long/a.jpg", jpeg(1) * 3_000)
    store.pipe("/long/b.jpg", jpeg(2))
    written: list[int] = []
    listed = object_store._listed

    def too_short(*arguments: object) -> object:
        return [item._replace(size=min(item.size, len(jpeg(1)))) for item in listed(*arguments)]  # type: ignore[arg-type]

    monkeypatch.setattr(object_store, "_listed", too_short)
    monkeypatch.setattr(fsspec.AbstractFileSystem, "blocksize", 1000)
    real = object_store._AtMost.call

    def noted(self: object_store._AtMost, hook_name: str | None = None, **more: object) -> None:
        written.append(self.value)
        real(self, hook_name, **more)

    monkeypatch.setattr(object_store._AtMost, "call", noted)
    try:
        report = collected(object_store="memory://long")
    finally:
        store.rm("/long", recursive=True)
    assert "found more" in report.failed_because["a.jpg"]
    assert max(written) < len(jpeg(1)) * 3_000
    assert data(dataset) == {"images/b.jpg": jpeg(2)}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_object_is_left_and_the_others_arrive(
    shelf: Path, shelved: Collected, tmp_path: Path, kind: str
) -> None:
    make_strange(kind, shelf / "strange.jpg")
    with watched(tmp_path):
        assert shelved().arrived == 4


def test_a_pipe_that_has_the_name_in_the_data_set_keeps_it(shelved: Collected, dataset: Path, tmp_path: Path) -> None:
    """The store waited for its content, with the lock of the data set held."""
    os.mkfifo(dataset / "images" / "a.jpg")
    with watched(tmp_path):
        report = shelved()
    assert report.arrived == 3
    assert list(report.failed_because) == ["a.jpg"]
