from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from tests.data.images.dicoms import dicom_of
from tests.data.images.pictures import drawn
from tests.data.sources.data_set import Collected, NewConfig, jpeg, visible
from tests.data.sources.killed_runs import KilledRuns
from tests.strange_files import NOT_READABLE, STRANGE, make_strange, refuse_to_open, watched

from skinlesion.data.sources import drop_folder, intake
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError


class Drop:
    """A folder that files are dropped into, and the data set that takes them."""

    def __init__(self, folder: Path, dataset: Path, collected: Collected) -> None:
        self.folder, self.dataset, self.collected = folder, dataset, collected

    def put(self, name: str, content: bytes) -> Path:
        return put(self.folder, name, content)

    def take(self, **settings: object) -> SourceSummary:
        return self.collected(drop_folder=str(self.folder), **settings)

    def left(self) -> dict[str, bytes]:
        return visible(self.folder)

    def taken(self) -> dict[str, bytes]:
        return visible(self.dataset)


@pytest.fixture
def drop(tmp_path: Path, dataset: Path, collected: Collected) -> Drop:
    (tmp_path / "drop").mkdir()
    return Drop(tmp_path / "drop", dataset, collected)


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def links_across_file_systems_fail(monkeypatch: pytest.MonkeyPatch, drop: Path) -> None:
    link = os.link

    def refuse(source: Path, target: Path) -> None:
        if drop in source.parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)


def links_do_not_exist(monkeypatch: pytest.MonkeyPatch, drop: Path) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)


WAYS = {
    "same file system": lambda monkeypatch, drop: None,
    "another file system": links_across_file_systems_fail,
    "no hard links": links_do_not_exist,
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, drop: Drop) -> None:
    WAYS[request.param](monkeypatch, drop.folder)


@pytest.mark.usefixtures("way")
def test_complete_files_move_into_the_data_set(drop: Drop) -> None:
    drop.put("a.jpg", jpeg(1))
    drop.put("clinic/day 1/b.JPG", jpeg(2))
    drop.put("clinic/Labels.CSV", b"image,dx\na,nv\n")
    assert drop.take().model_dump() == {
        "arrived": 3, "already_there": 0, "waiting": 0, "failed": 0, "waiting_because": {}, "failed_because": {},
    }  # fmt: skip
    assert drop.taken() == {
        "images/a.jpg": jpeg(1),
        "images/clinic/day 1/b.JPG": jpeg(2),
        "labels/clinic__Labels.csv": b"image,dx\na,nv\n",
    }
    assert drop.left() == {}
    assert drop.take().arrived == 0


def test_images_are_known_by_their_content_and_others_stay_with_what_to_do(drop: Drop) -> None:
    arrived = {"1.2.840.77": dicom_of(drawn(1)), "a.jfif": jpeg(1), "b": jpeg(2)}
    for name, content in (arrived | {"c.pdf": b"%PDF-1.7", "notes.txt": b"hello"}).items():
        drop.put(name, content)
    report = drop.take()
    assert drop.taken() == {f"images/{name}": content for name, content in arrived.items()}
    assert report.failed_because == {
        "c.pdf": "a PDF document, which is not read: export its picture as PNG",
        "notes.txt": "neither an image nor a CSV table",
    }


@pytest.mark.parametrize(
    "name", ["a.jpg.part", "a.jpg.crdownload", "a.tmp", ".a.jpg", "b/.hidden.csv", "a.jpg.filepart"]
)
def test_a_name_of_an_unfinished_file_is_left(drop: Drop, name: str) -> None:
    drop.put(name, jpeg(1))
    report = drop.take()
    assert report.waiting_because == {name: "hidden, or with the name of a file that is still being written"}
    assert (drop.folder / name).exists()


def test_a_file_is_left_until_nothing_changes_about_it(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    path = drop.put("a.jpg", jpeg(1))
    os.utime(path, (1, 1))  # what `cp -p` does: the old time says nothing
    report = drop.take(drop_settle_seconds=30)
    assert "changed 0 s ago; taken when nothing changes for 30 s" in report.waiting_because["a.jpg"]
    assert drop.taken() == {}
    half_a_minute_later = time.time_ns() + 31 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: half_a_minute_later)
    assert drop.take(drop_settle_seconds=30).arrived == 1


def test_an_mtime_in_the_future_does_not_keep_a_file_out(drop: Drop) -> None:
    path = drop.put("a.jpg", jpeg(1))
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))
    assert drop.take().arrived == 1


def test_a_file_that_is_open_for_writing_is_left(drop: Drop) -> None:
    with drop.put("t.csv", b"image,dx\n").open("ab") as writer:
        writer.write(b"a,nv\n")
        writer.flush()
        report = drop.take()
        assert report.waiting_because == {"t.csv": "a process has it open for writing"}
    assert drop.take().arrived == 1


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_an_image_that_is_half_here_is_left_and_taken_when_it_is_whole(drop: Drop, share: float) -> None:
    whole = jpeg(1)
    path = drop.put("a.jpg", whole[: int(len(whole) * share)])
    report = drop.take()
    assert report.waiting == 1
    assert "still being written, or damaged" in report.waiting_because["a.jpg"]
    assert drop.taken() == {}
    path.write_bytes(whole)
    assert drop.take().arrived == 1
    assert drop.taken() == {"images/a.jpg": whole}


def test_an_image_that_stays_damaged_for_a_day_has_failed(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drop_folder, "GIVEN_UP_AFTER_SECONDS", 0)
    drop.put("a.jpg", jpeg(1)[:500])
    report = drop.take()
    assert (report.waiting, report.failed) == (0, 1)
    assert "nothing has changed for a day" in report.failed_because["a.jpg"]
    assert drop.left() == {"a.jpg": jpeg(1)[:500]}


def test_what_is_too_large_for_an_image_is_not_even_read(drop: Drop) -> None:
    with (drop.folder / "film.jpg").open("wb") as file:
        file.truncate(10**9)  # takes no room on the disk
    report = drop.take(max_image_pixels=50_176)
    assert report.failed_because == {"film.jpg": "1,000,000,000 bytes; expected at most 64,401,408"}


@pytest.mark.parametrize("taken", ["a.jpg", "sub/a.jpg", "a.png"])
@pytest.mark.usefixtures("way")
def test_a_name_of_other_content_is_not_overwritten(drop: Drop, taken: str) -> None:
    put(layout.images(drop.dataset), taken, jpeg(1))
    drop.put("a.jpg", jpeg(2))
    report = drop.take()
    assert "the name is taken by a" in report.failed_because["a.jpg"]
    assert drop.taken() == {f"images/{taken}": jpeg(1)}
    assert drop.left() == {"a.jpg": jpeg(2)}


def test_two_dropped_files_of_one_name_do_not_both_arrive(drop: Drop) -> None:
    drop.put("one/a.jpg", jpeg(1))
    drop.put("two/a.jpg", jpeg(2))
    report = drop.take()
    assert (report.arrived, report.failed) == (1, 1)
    assert drop.taken() == {"images/one/a.jpg": jpeg(1)}
    assert drop.left() == {"two/a.jpg": jpeg(2)}


def test_a_file_whose_content_is_there_already_goes(drop: Drop) -> None:
    put(layout.images(drop.dataset), "a.jpg", jpeg(1))
    put(layout.labels(drop.dataset), "t.csv", b"image,dx\n")
    drop.put("a.jpg", jpeg(1))
    drop.put("t.csv", b"image,dx\n")
    report = drop.take()
    assert (report.arrived, report.already_there, report.failed) == (0, 2, 0)
    assert drop.left() == {}
    assert drop.taken() == {"images/a.jpg": jpeg(1), "labels/t.csv": b"image,dx\n"}


def test_what_cannot_be_placed_stays_and_is_told(drop: Drop, tmp_path: Path) -> None:
    images, not_text, long = layout.images(drop.dataset), os.fsdecode(b"\xff.jpg"), "n" * 120
    (images / "nowhere.jpg").symlink_to("nowhere")
    os.mkfifo(images / "pipe.jpg")
    put(images, "clinic", b"a file")
    for name in ("nowhere.jpg", "pipe.jpg", "clinic/b.jpg", f"{long}/{long}.csv", "back\\slash.jpg", not_text):
        drop.put(name, jpeg(1))
    (images / "linked.jpg").symlink_to(drop.put("linked.jpg", jpeg(1)))
    put(tmp_path / "elsewhere", "a.jpg", jpeg(3))
    (drop.folder / "link.jpg").symlink_to(tmp_path / "elsewhere" / "a.jpg")
    (drop.folder / "folder").symlink_to(tmp_path / "elsewhere")
    before = drop.left()
    with watched(tmp_path):
        report = drop.take()
    said = {
        "nowhere.jpg": "the name is taken by nowhere.jpg",
        "pipe.jpg": "the name is taken",
        "clinic/b.jpg": "a file has the name of its folder clinic",
        f"{long}/{long}.csv": "with its folders the name has more than",
        "back\\slash.jpg": "expected a plain relative name",
        "\\udcff.jpg": "expected a plain relative name",
        "linked.jpg": "links to it",
        "link.jpg": "a link",
        "folder": "a link to a folder; only files are taken",
    }
    assert (report.arrived, report.failed_because.keys()) == (0, said.keys())
    assert [name for name, reason in said.items() if reason not in report.failed_because[name]] == []
    assert drop.left() == before


def test_a_file_that_changes_while_it_is_copied_is_left(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    links_across_file_systems_fail(monkeypatch, drop.folder)
    path = drop.put("a.jpg", jpeg(1))
    copy = drop_folder._copy

    def copy_while_written_to(source: Path, target: Path) -> None:
        copy(source, target)
        path.write_bytes(jpeg(2))

    monkeypatch.setattr(drop_folder, "_copy", copy_while_written_to)
    report = drop.take()
    assert report.waiting_because == {"a.jpg": "it changed while it was being copied"}
    assert drop.taken() == {}
    assert drop.left() == {"a.jpg": jpeg(2)}


def test_a_copy_that_differs_from_what_was_read_is_an_error_and_loses_nothing(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    links_across_file_systems_fail(monkeypatch, drop.folder)
    drop.put("a.jpg", jpeg(1))
    monkeypatch.setattr(drop_folder, "have_same_content", lambda one, other: False)
    with pytest.raises(OSError, match="The copy differs from what was read"):
        drop.take()
    assert drop.left() == {"a.jpg": jpeg(1)}
    assert drop.taken() == {}


def test_a_full_disk_is_an_error_and_loses_nothing(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    drop.put("a.jpg", jpeg(1))
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        drop.take()
    assert drop.left() == {"a.jpg": jpeg(1)}


@pytest.mark.parametrize("where", ["dataset", "dataset/images", "dataset/labels/in", "dataset/processed_images", "."])
def test_a_drop_folder_among_the_data_sets_own_files_is_refused(drop: Drop, tmp_path: Path, where: str) -> None:
    folder = tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=r"holds the data set's own files"):
        drop.collected(drop_folder=str(folder))


def test_a_missing_drop_folder_is_one_clear_error(drop: Drop, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is missing: expected a folder"):
        drop.collected(drop_folder=str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("way")
def test_killed_before_any_step_nothing_is_lost_or_half_taken(
    drop: Drop, config: NewConfig, killed_runs: KilledRuns
) -> None:
    originals = {"a.jpg": jpeg(1), "sub/b.jpg": jpeg(2), "t.csv": b"image,dx\na,nv\n"}
    kept = {"images/a.jpg": jpeg(1), "images/sub/b.jpg": jpeg(2), "labels/t.csv": b"image,dx\na,nv\n"}
    settings = config(drop_folder=str(drop.folder))

    def fill() -> None:
        for name, content in originals.items():
            drop.put(name, content)

    def take() -> None:
        drop_folder.take_dropped(settings, intake.Intake(drop.dataset))

    # A link and an unlink each, or more
    for _ in killed_runs(take, fill, at_least=2 * len(originals)):
        taken, left = drop.taken(), drop.left()
        assert taken.items() <= kept.items(), "whole files under their own names"
        assert set(originals.values()) <= set(taken.values()) | set(left.values())
        drop.take()
        assert drop.taken() == kept
        assert drop.left() == {}
        for path in kept:
            (drop.dataset / path).unlink()


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_stays_and_the_others_are_taken(drop: Drop, tmp_path: Path, kind: str) -> None:
    drop.put("a.jpg", jpeg(1))
    make_strange(kind, drop.folder / "strange.jpg")
    with watched(tmp_path):
        report = drop.take()
    assert report.arrived == 1
    assert "strange.jpg" in report.failed_because
    assert os.path.lexists(drop.folder / "strange.jpg")


@pytest.mark.parametrize("kind", ["a FIFO", "a link to /dev/zero"])
def test_what_is_exchanged_after_it_was_listed_is_not_opened(
    drop: Drop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A FIFO held the data set's lock for ever, a link led out of the drop folder."""
    path, listing = drop.put("a.jpg", jpeg(1)), drop_folder._find_files

    def and_then(*arguments: object) -> object:
        listed = listing(*arguments)  # type: ignore[arg-type]
        make_strange(kind, path)
        return listed

    monkeypatch.setattr(drop_folder, "_find_files", and_then)
    with watched(tmp_path):
        report = drop.take()
    assert "not a file" in report.failed_because["a.jpg"]
    assert drop.taken() == {}


@pytest.mark.parametrize("kind", NOT_READABLE)
def test_an_unreadable_file_stays_and_the_others_are_taken(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    drop.put("a.jpg", jpeg(1))
    path = drop.put("b.jpg", jpeg(2))
    number, words = NOT_READABLE[kind]
    refuse_to_open(monkeypatch, path, number)
    report = drop.take()
    assert (report.arrived, report.failed) == (1, 1)
    assert words in report.failed_because["b.jpg"]


def test_a_file_from_a_night_with_the_clock_ahead_does_not_wait_until_that_day(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was dropped while a clock was a year ahead waited a year."""
    path = drop.put("lesion.jpg", jpeg(1))
    before = path.stat()
    year = 365 * 24 * 3600 * 10**9
    with monkeypatch.context() as patched:
        patched.setattr(time, "time_ns", lambda: before.st_ctime_ns - year)
        assert drop.take(drop_settle_seconds=0).waiting == 1
    now = path.stat()
    assert now.st_ctime_ns > before.st_ctime_ns, "its last change is that of today"
    assert now.st_mtime_ns == before.st_mtime_ns
    assert drop.take(drop_settle_seconds=0).arrived == 1


def test_a_folder_on_another_file_system_does_not_end_the_night(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """In images/ it may be a link; a file for it cannot be put there whole in one step."""

    def refuse(source: Path, target: Path) -> None:
        if "sub" in Path(target).parts:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        link(source, target)

    link = os.link
    monkeypatch.setattr(os, "link", refuse)
    drop.put("sub/a.jpg", jpeg(1))
    drop.put("b.jpg", jpeg(2))
    report = drop.take()
    assert (report.arrived, list(report.failed_because)) == (1, ["sub/a.jpg"])
    assert drop.left() == {"sub/a.jpg": jpeg(1)}
