"""Whatever lies in images/, a night names it and goes on: no FIFO holds its lock, no link takes its memory, no folder is lost."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.stages.data_set import DataSet, jpeg
from tests.strange_files import NOT_READABLE, STRANGE, make_strange, refuse_to_open, sparse, watched

from skinlesion.data import examined_files
from skinlesion.data.images.listed_files import list_files
from skinlesion.data.labels import csv_file
from skinlesion.data.report.contents import DataReport
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.stages.examine import examine
from skinlesion.stages.ingest import ingest
from skinlesion.stages.resize import resize


def others_of(dataset: DataSet, image: str) -> list[str]:
    return [row["image"] for row in dataset.rows() if row["image"] != image]


def accepted(dataset: DataSet) -> set[str]:
    return set(dataset.column("refused")) - set(dataset.refusals())


def in_report(dataset: DataSet) -> dict[str, str]:
    """Return the reasons in the data report, by file."""
    report = DataReport.read(layout.data_report(dataset.folder).with_suffix(".json"))
    return {one.file: one.reason for one in report.refused_files}


@pytest.mark.parametrize("kind", STRANGE)
def test_an_image_that_is_no_file_is_refused_with_its_reason_and_the_night_goes_on(few: DataSet, kind: str) -> None:
    image = few.rows()[0]["image"]
    reason = make_strange(kind, few.original(f"{image}.jpg"))
    with watched(few.folder):
        ingest(few.config())
        resize(few.config())
    assert accepted(few) == set(others_of(few, image))
    assert reason in few.refusals()[image]
    assert reason in in_report(few)[f"{image}.jpg"]


@pytest.mark.parametrize("kind", sorted(STRANGE.keys() - {"a file without end"}))
def test_what_no_table_names_is_in_the_report_too(few: DataSet, kind: str) -> None:
    reason = make_strange(kind, few.original("strange.jpg"))
    with watched(few.folder):
        for index in range(2):
            examine(few.config(), Shard(index, 2))
        ingest(few.config(), prepared=True)
    assert accepted(few) == {row["image"] for row in few.rows()}
    assert reason in in_report(few)["strange.jpg"]


@pytest.mark.parametrize("kind", NOT_READABLE)
def test_an_unreadable_file_is_refused_that_night_and_read_the_next(
    few: DataSet, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It ended every night; and it must not stay refused once the disk, or the permission, is mended."""
    image = few.rows()[0]["image"]
    few.touch(image)  # a file, where the others are links
    number, words = NOT_READABLE[kind]
    with monkeypatch.context() as patch:
        refuse_to_open(patch, few.original(f"{image}.jpg"), number)
        ingest(few.config())
        assert words in few.refusals()[image]
        assert ingest(few.config()).done == 1
    assert ingest(few.config()).done == 1
    assert not few.refusals()


@pytest.mark.parametrize("kind", ["a FIFO", "a link to /dev/zero", "a link to itself"])
def test_a_file_that_becomes_something_else_after_ingest_is_left_out_of_the_next_stages(
    few: DataSet, kind: str
) -> None:
    ingest(few.config())
    image = few.rows()[0]["image"]
    reason = make_strange(kind, few.original(f"{image}.jpg"))
    with watched(few.folder):
        report = resize(few.config())
    assert report.refused == 1
    assert reason in str(report.details["refused_because"])


@pytest.mark.parametrize("change", ["grows", "shrinks", "goes away", "becomes a FIFO"])
def test_a_file_that_changes_between_listing_and_reading_waits_for_the_next_night(
    few: DataSet, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    image = few.rows()[0]["image"]
    few.touch(image)
    path, listing = few.original(f"{image}.jpg"), list_files
    content = path.read_bytes()

    def and_then(*arguments: object) -> object:
        listed = listing(*arguments)  # type: ignore[arg-type]
        path.unlink()
        if change == "becomes a FIFO":
            os.mkfifo(path)
        elif change != "goes away":
            path.write_bytes(content + b"more" if change == "grows" else content[:-9])
        return listed

    with watched(few.folder), monkeypatch.context() as patch:
        patch.setattr(examined_files, "list_files", and_then)
        ingest(few.config())
    assert set(few.refusals()) == {image}
    few.put(f"{image}.jpg", content)
    ingest(few.config())
    assert not few.refusals()


def test_a_pipe_beside_an_image_of_its_name_does_not_cost_the_image(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    os.mkfifo(few.original(f"{image}.png"))
    with watched(few.folder):
        ingest(few.config())
    assert accepted(few) == {row["image"] for row in few.rows()}
    assert "named pipe" in in_report(few)[f"{image}.png"]


# --- Folders --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [".", "..", "../images", "../processed_images", "/", "sub"])
def test_a_folder_that_leads_back_is_named_and_not_searched_twice(few: DataSet, target: str) -> None:
    layout.processed(few.folder).mkdir()
    few.add("x", jpeg(5)).rename(few.original("x.png"))
    few.original("sub").mkdir()
    few.original("x.png").rename(few.original("sub/x.png"))
    few.original("again").symlink_to(target)
    ingest(few.config())
    assert accepted(few) == {row["image"] for row in few.rows()}
    assert "which holds the folder that is searched, or belongs to it" in in_report(few)["again"]


def test_folders_elsewhere_that_lead_to_each_other_are_searched_once(few: DataSet, tmp_path: Path) -> None:
    (tmp_path / "one" / "two").mkdir(parents=True)
    (tmp_path / "one" / "two" / "back").symlink_to(tmp_path / "one")
    (tmp_path / "one" / "two" / "x.jpg").write_bytes(jpeg(5))
    few.add_row("x")
    few.original("linked").symlink_to(tmp_path / "one")
    ingest(few.config())
    assert few.of_image("x", "file", "refused") == ["linked/two/x.jpg", ""]
    assert in_report(few) == {"linked/two/back": "a folder that is searched as linked already"}


def test_images_that_may_not_be_listed_are_one_clear_error(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("skinlesion.data.images.listing.os.scandir", refuse)
    with pytest.raises(DataError, match=r"images cannot be listed \(Permission denied\)"):
        examine(few.config())


def test_a_folder_with_the_name_of_an_image_is_a_folder(few: DataSet) -> None:
    few.original("x.jpg").mkdir()
    few.add_row("x")
    few.add("y", jpeg(5)).rename(few.original("x.jpg/y.jpg"))
    ingest(few.config())
    assert few.refusals() == {"x": "no file of this name in images/"}
    assert few.of_image("y", "file") == ["x.jpg/y.jpg"]


def test_folders_within_each_other_have_an_end(few: DataSet) -> None:
    here = os.open(few.original("."), os.O_RDONLY)
    for _ in range(150):
        os.mkdir("deeper", dir_fd=here)
        here, before = os.open("deeper", os.O_RDONLY, dir_fd=here), here
        os.close(before)
    os.close(here)
    ingest(few.config())
    assert [reason for reason in in_report(few).values() if "not searched" in reason]


# --- Tables of labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("place", ["diagnoses.csv", "labels/more.csv"])
def test_a_table_that_is_no_file_is_one_clear_error(few: DataSet, kind: str, place: str) -> None:
    """A table in labels/ that is left out without a word takes its lesions with it, and with them the split."""
    layout.labels(few.folder).mkdir()
    reason = make_strange(kind, few.folder / place)
    with watched(few.folder), pytest.raises(DataError, match=reason) as caught:
        ingest(few.config())
    assert Path(place).name in str(caught.value)


def test_a_table_that_is_a_folder_is_one_clear_error(few: DataSet) -> None:
    few.labels.unlink()
    few.labels.mkdir()
    with pytest.raises(DataError, match=r"diagnoses.csv cannot be used: a folder, not a file"):
        ingest(few.config())


def test_a_table_of_zeros_is_refused_quickly(few: DataSet) -> None:
    few.labels.unlink()
    sparse(few.labels, 2 * 1024**3)
    with watched(few.folder), pytest.raises(DataError, match="longer than"):
        ingest(few.config())


def test_a_table_that_grows_while_it_is_read_is_read_again_later(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    read = csv_file.cells_of

    def and_then(*arguments: Any, **named: Any) -> object:
        cells = read(*arguments, **named)
        few.add_row("later")
        return cells

    monkeypatch.setattr(csv_file, "cells_of", and_then)
    with pytest.raises(OSError, match="The table changed while it was being read"):
        ingest(few.config())
