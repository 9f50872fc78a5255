from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from tests.data.sources.data_set import Collected, NewConfig, jpeg, visible
from tests.data.sources.killed_runs import KilledRuns

from skinlesion.data.sources import drop_folder, intake
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


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
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, drop: Path) -> None:
    WAYS[request.param](monkeypatch, drop)


@pytest.mark.usefixtures("way")
def test_complete_files_move_into_the_data_set(dataset: Path, drop: Path, collected: Collected) -> None:
    put(drop, "a.jpg", jpeg(1))
    put(drop, "clinic/day 1/b.JPG", jpeg(2))
    put(drop, "clinic/Labels.CSV", b"image,dx\na,nv\n")
    assert collected(drop_folder=str(drop)).model_dump() == {
        "arrived": 3, "already_there": 0, "waiting": 0, "failed": 0, "waiting_because": {}, "failed_because": {},
    }  # fmt: skip
    assert visible(dataset) == {
        "images/a.jpg": jpeg(1),
        "images/clinic/day 1/b.JPG": jpeg(2),
        "labels/clinic__Labels.csv": b"image,dx\na,nv\n",
    }
    assert visible(drop) == {}
    assert collected(drop_folder=str(drop)).arrived == 0


@pytest.mark.parametrize(
    "name", ["a.jpg.part", "a.jpg.crdownload", "a.tmp", ".a.jpg", "b/.hidden.csv", "a.jpg.filepart"]
)
def test_a_name_of_an_unfinished_file_is_left(drop: Path, collected: Collected, name: str) -> None:
    put(drop, name, jpeg(1))
    report = collected(drop_folder=str(drop))
    assert report.waiting_because == {name: "hidden, or with the name of a file that is still being written"}
    assert (drop / name).exists()


def test_a_file_is_left_until_nothing_changes_about_it(
    drop: Path, collected: Collected, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(drop, "a.jpg", jpeg(1))
    os.utime(path, (1, 1))  # what `cp -p` does: the old time says nothing
    report = collected(drop_folder=str(drop), drop_settle_seconds=30)
    assert "changed 0 s ago; taken when nothing changes for 30 s" in report.waiting_because["a.jpg"]
    assert visible(dataset) == {}
    half_a_minute_later = time.time_ns() + 31 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: half_a_minute_later)
    assert collected(drop_folder=str(drop), drop_settle_seconds=30).arrived == 1


def test_an_mtime_in_the_future_does_not_keep_a_file_out(drop: Path, collected: Collected) -> None:
    path = put(drop, "a.jpg", jpeg(1))
    os.utime(path, (time.time() + 86_400, time.time() + 86_400))
    assert collected(drop_folder=str(drop)).arrived == 1


def test_a_file_that_is_open_for_writing_is_left(drop: Path, collected: Collected) -> None:
    with put(drop, "t.csv", b"image,dx\n").open("ab") as writer:
        writer.write(b"a,nv\n")
        writer.flush()
        report = collected(drop_folder=str(drop))
        assert report.waiting_because == {"t.csv": "a process has it open for writing"}
    assert collected(drop_folder=str(drop)).arrived == 1


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_an_image_that_is_half_here_is_left_and_taken_when_it_is_whole(
    drop: Path, collected: Collected, dataset: Path, share: float
) -> None:
    whole = jpeg(1)
    path = put(drop, "a.jpg", whole[: int(len(whole) * share)])
    report = collected(drop_folder=str(drop))
    assert report.waiting == 1
    assert "still being written, or damaged" in report.waiting_because["a.jpg"]
    assert visible(dataset) == {}
    path.write_bytes(whole)
    assert collected(drop_folder=str(drop)).arrived == 1
    assert visible(dataset) == {"images/a.jpg": whole}


def test_an_image_that_stays_damaged_for_a_day_has_failed(
    drop: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drop_folder, "GIVEN_UP_AFTER_SECONDS", 0)
    put(drop, "a.jpg", jpeg(1)[:500])
    report = collected(drop_folder=str(drop))
    assert (report.waiting, report.failed) == (0, 1)
    assert "nothing has changed for a day" in report.failed_because["a.jpg"]
    assert visible(drop) == {"a.jpg": jpeg(1)[:500]}


def test_what_is_too_large_for_an_image_is_not_even_read(drop: Path, collected: Collected) -> None:
    with (drop / "film.jpg").open("wb") as file:
        file.truncate(10**9)  # takes no room on the disk
    report = collected(drop_folder=str(drop), max_image_pixels=50_176)
    assert report.failed_because == {"film.jpg": "1,000,000,000 bytes; expected at most 64,401,408"}


@pytest.mark.parametrize("taken", ["a.jpg", "sub/a.jpg", "a.png"])
@pytest.mark.usefixtures("way")
def test_a_name_of_other_content_is_not_overwritten(
    dataset: Path, drop: Path, collected: Collected, taken: str
) -> None:
    put(layout.images(dataset), taken, jpeg(1))
    put(drop, "a.jpg", jpeg(2))
    report = collected(drop_folder=str(drop))
    assert "the name is taken by a" in report.failed_because["a.jpg"]
    assert visible(dataset) == {f"images/{taken}": jpeg(1)}
    assert visible(drop) == {"a.jpg": jpeg(2)}


def test_two_dropped_files_of_one_name_do_not_both_arrive(dataset: Path, drop: Path, collected: Collected) -> None:
    put(drop, "one/a.jpg", jpeg(1))
    put(drop, "two/a.jpg", jpeg(2))
    report = collected(drop_folder=str(drop))
    assert (report.arrived, report.failed) == (1, 1)
    assert visible(dataset) == {"images/one/a.jpg": jpeg(1)}
    assert visible(drop) == {"two/a.jpg": jpeg(2)}


def test_a_file_whose_content_is_there_already_goes(dataset: Path, drop: Path, collected: Collected) -> None:
    put(layout.images(dataset), "a.jpg", jpeg(1))
    put(layout.labels(dataset), "t.csv", b"image,dx\n")
    put(drop, "a.jpg", jpeg(1))
    put(drop, "t.csv", b"image,dx\n")
    report = collected(drop_folder=str(drop))
    assert (report.arrived, report.already_there, report.failed) == (0, 2, 0)
    assert visible(drop) == {}
    assert visible(dataset) == {"images/a.jpg": jpeg(1), "labels/t.csv": b"image,dx\n"}


def test_a_link_to_nowhere_and_a_file_instead_of_a_folder_keep_their_names(
    dataset: Path, drop: Path, collected: Collected
) -> None:
    (dataset / "images" / "a.jpg").symlink_to("nowhere")
    put(layout.images(dataset), "clinic", b"a file")
    put(drop, "a.jpg", jpeg(1))
    put(drop, "clinic/b.jpg", jpeg(2))
    put(drop, "n" * 120 + "/" + "n" * 120 + ".csv", b"image,dx\n")
    reasons = collected(drop_folder=str(drop)).failed_because
    assert "the name is taken by a.jpg" in reasons["a.jpg"]
    assert "a file has the name of its folder clinic" in reasons["clinic/b.jpg"]
    assert len(reasons) == 3
    assert len(visible(drop)) == 3


def test_a_dropped_file_that_the_data_set_links_to_is_kept(dataset: Path, drop: Path, collected: Collected) -> None:
    layout.images(dataset).joinpath("a.jpg").symlink_to(put(drop, "a.jpg", jpeg(1)))
    assert "links to it" in collected(drop_folder=str(drop)).failed_because["a.jpg"]
    assert visible(drop) == {"a.jpg": jpeg(1)}


def test_what_is_no_image_and_no_table_stays_and_is_told(drop: Path, collected: Collected, tmp_path: Path) -> None:
    secret = put(tmp_path, "secret.jpg", jpeg(3))
    put(drop, "notes.txt", b"hello")
    put(drop, "back\\slash.jpg", jpeg(1))
    (drop / "link.jpg").symlink_to(secret)
    os.mkfifo(drop / "pipe.csv")
    report = collected(drop_folder=str(drop))
    assert (report.arrived, report.failed) == (0, 4)
    assert set(report.failed_because) == {"notes.txt", "back\\slash.jpg", "link.jpg", "pipe.csv"}
    assert secret.read_bytes() == jpeg(3)


def test_names_that_are_no_text_stay_and_are_told(drop: Path, collected: Collected) -> None:
    path = put(drop, os.fsdecode(b"\xff.jpg"), jpeg(1))
    report = collected(drop_folder=str(drop))
    assert "expected a plain relative name" in report.failed_because["\\udcff.jpg"]
    assert path.exists()


def test_a_file_that_changes_while_it_is_copied_is_left(
    dataset: Path, drop: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    links_across_file_systems_fail(monkeypatch, drop)
    path = put(drop, "a.jpg", jpeg(1))
    copy = drop_folder._copy

    def copy_while_written_to(source: Path, target: Path) -> None:
        copy(source, target)
        path.write_bytes(jpeg(2))

    monkeypatch.setattr(drop_folder, "_copy", copy_while_written_to)
    report = collected(drop_folder=str(drop))
    assert report.waiting_because == {"a.jpg": "it changed while it was being copied"}
    assert visible(dataset) == {}
    assert visible(drop) == {"a.jpg": jpeg(2)}


def test_a_copy_that_differs_from_what_was_read_is_an_error_and_loses_nothing(
    dataset: Path, drop: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    links_across_file_systems_fail(monkeypatch, drop)
    put(drop, "a.jpg", jpeg(1))
    monkeypatch.setattr(drop_folder, "have_same_content", lambda one, other: False)
    with pytest.raises(OSError, match="The copy differs from what was read"):
        collected(drop_folder=str(drop))
    assert visible(drop) == {"a.jpg": jpeg(1)}
    assert visible(dataset) == {}


def test_a_full_disk_is_an_error_and_loses_nothing(
    dataset: Path, drop: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    put(drop, "a.jpg", jpeg(1))
    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        collected(drop_folder=str(drop))
    assert visible(drop) == {"a.jpg": jpeg(1)}


@pytest.mark.parametrize("where", ["dataset", "dataset/images", "dataset/labels/in", "dataset/processed_images", "."])
def test_a_drop_folder_among_the_data_sets_own_files_is_refused(
    dataset: Path, tmp_path: Path, collected: Collected, where: str
) -> None:
    folder = tmp_path / where
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(DataError, match=r"holds the data set's own files"):
        collected(drop_folder=str(folder))


def test_a_missing_drop_folder_is_one_clear_error(tmp_path: Path, collected: Collected) -> None:
    with pytest.raises(DataError, match=r"nowhere is missing: expected a folder"):
        collected(drop_folder=str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("way")
def test_killed_before_any_step_nothing_is_lost_or_half_taken(
    dataset: Path, drop: Path, config: NewConfig, killed_runs: KilledRuns, collected: Collected
) -> None:
    originals = {"a.jpg": jpeg(1), "sub/b.jpg": jpeg(2), "t.csv": b"image,dx\na,nv\n"}
    kept = {"images/a.jpg": jpeg(1), "images/sub/b.jpg": jpeg(2), "labels/t.csv": b"image,dx\na,nv\n"}
    settings = config(drop_folder=str(drop))

    def fill() -> None:
        for name, content in originals.items():
            put(drop, name, content)

    def take() -> None:
        drop_folder.take_dropped(settings, intake.Intake(dataset))

    # A link and an unlink each, or more
    for _ in killed_runs(take, fill, at_least=2 * len(originals)):
        taken, left = visible(dataset), visible(drop)
        assert taken.items() <= kept.items(), "whole files under their own names"
        assert set(originals.values()) <= set(taken.values()) | set(left.values())
        collected(drop_folder=str(drop))
        assert visible(dataset) == kept
        assert visible(drop) == {}
        for path in kept:
            (dataset / path).unlink()
