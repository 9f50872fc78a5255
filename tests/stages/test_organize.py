from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.data.images.dicoms import coded_as
from tests.data.sources.killed_runs import changes_of
from tests.stages.data_set import DataSet, jpeg, results, run_data_side, snapshot

from skinlesion.data.catalog import split_of_catalog
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import read_manifest, write_manifest
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError, LeakError
from skinlesion.stages.organize import organize
from skinlesion.stages.pipeline import run_stage


def links(dataset: DataSet) -> dict[str, int]:
    """Return class/name -> inode."""
    output = layout.output(dataset.folder)
    return {f"{path.parent.name}/{path.name}": path.stat().st_ino for path in output.rglob("*") if path.is_file()}


def manifest(dataset: DataSet) -> pd.DataFrame:
    return read_manifest(dataset.folder).set_index("file")


def files_of(dataset: DataSet, image: str) -> set[str]:
    table = manifest(dataset)
    return set(table.index[table["image"] == image])


def test_the_view_is_links_of_processed_and_augmented_images_in_their_classes_folders(processed: DataSet) -> None:
    table, columns = manifest(processed), ["file", "image", "label", "split", "group", "copy"]
    assert links(processed).keys() == set(table.index)
    assert {path.name for path in layout.output(processed.folder).iterdir()} == set(LABELS)
    for file, image, label, split, group, copy in table.reset_index()[columns].itertuples(index=False, name=None):
        folder_of_class, name = file.split("/")
        assert folder_of_class == label
        assert [label, split, group] == processed.of_image(image, "label", "split", "group")
        folder = layout.augmented(processed.folder) if copy else layout.processed(processed.folder)
        assert (layout.output(processed.folder) / file).samefile(folder / name)
    assert len(table) == 6 + len(processed.images_of(TRAIN))
    assert set(table.loc[table["copy"] > 0, "split"]) == {TRAIN}


def test_a_second_run_of_the_data_side_does_nothing_and_changes_no_file(processed: DataSet) -> None:
    before, links_before = snapshot(processed.folder), links(processed)
    reports = run_data_side(processed.config())
    training = len(processed.images_of(TRAIN))
    skipped = {"ingest": 6, "resize": 6, "augment": training, "organize": 6 + training}
    assert {stage: report.skipped for stage, report in reports.items()} == skipped
    assert {stage: report.done for stage, report in reports.items()} == dict.fromkeys(reports, 0)
    assert not reports["organize"].details["manifest_changed"]
    assert snapshot(processed.folder) == before
    assert links(processed) == links_before


def test_a_new_image_costs_every_stage_one_images_work(processed: DataSet) -> None:
    before, links_before, catalog = results(processed.folder), links(processed), processed.catalog()
    processed.add("new", jpeg(1))
    reports = run_data_side(processed.config())
    assert processed.catalog().drop(index="new").equals(catalog)
    copies = int(processed.column("split")["new"] == TRAIN)
    assert [report.done for report in reports.values()] == [1, 1, copies, 1 + copies]
    assert {file: links(processed)[file] for file in links_before} == links_before
    after = results(processed.folder)
    changed = {path for path in before if after[path] != before[path]}
    report = {"data_report.html", "data_report.json"}
    assert changed == {"diagnoses.csv", "catalog.parquet", "split.parquet", "manifest.parquet"} | report


def test_a_changed_label_moves_its_links_and_only_those(processed: DataSet) -> None:
    labels = processed.column("label")
    image = next(image for image in processed.images_of(TRAIN) if labels[image] == "benign")
    before, old = links(processed), files_of(processed, image)
    processed.relabel({image}, dx="mel")
    reports = run_data_side(processed.config())
    assert [report.done for report in reports.values()] == [0, 0, 0, 2]
    assert reports["organize"].details["removed"] == len(old) == 2
    new = {file.replace("benign/", "malignant/") for file in old}
    assert files_of(processed, image) == new
    assert links(processed).keys() == before.keys() - old | new
    kept = before.keys() - old
    assert {file: links(processed)[file] for file in kept} == {file: before[file] for file in kept}


@pytest.mark.parametrize("row_too", [False, True])
def test_a_deleted_original_disappears_everywhere(processed: DataSet, row_too: bool) -> None:
    image = processed.images_of(TRAIN)[0]
    processed.original(f"{image}.jpg").unlink()
    if row_too:
        processed.remove_row(image)
    reports = run_data_side(processed.config())
    left = [path for path in layout.processed(processed.folder).rglob("*") if path.name.startswith(image)]
    assert left == []
    assert files_of(processed, image) == set()
    assert len(manifest(processed)) == 5 + len(processed.images_of(TRAIN))
    assert (image in processed.column("file")) is not row_too
    assert reports["organize"].done == 0


def test_a_changed_original_is_redone_everywhere(processed: DataSet) -> None:
    image = processed.images_of(TRAIN)[0]
    before, old = results(processed.folder), manifest(processed)
    processed.put(f"{image}.jpg", jpeg(1))
    reports = run_data_side(processed.config())
    assert [report.done for report in reports.values()] == [1, 1, 1, 2]
    after = results(processed.folder)
    assert after.keys() == before.keys()
    changed = {path for path in before if after[path] != before[path]}
    files = {f"processed_images/output/{file}" for file in files_of(processed, image)}
    assert changed == files | {
        f"processed_images/{image}.jpg",
        f"processed_images/augmented/{image}__aug01.jpg",
        "catalog.parquet",
        "manifest.parquet",
        "data_report.html",
        "data_report.json",
        "split.parquet",  # the new content is held to the image's side from now on
    }
    new = manifest(processed)
    assert set(new.index[new["sha256"] != old["sha256"]]) == files_of(processed, image)


def test_strays_in_the_view_go_and_lost_links_come_back(processed: DataSet) -> None:
    before = links(processed)
    (layout.output(processed.folder) / "benign" / "stray.jpg").write_bytes(b"x")
    (layout.output(processed.folder) / min(before)).unlink()
    report = organize(processed.config())
    assert (report.done, report.details["removed"]) == (1, 1)
    assert links(processed) == before


def test_without_links_in_the_file_system_files_are_copied_once(
    undisturbed: Path, few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    first = run_data_side(few.config())
    assert first["organize"].done == len(links(few)) > 6
    before = links(few)
    assert all(path.stat().st_nlink == 1 for path in layout.output(few.folder).rglob("*.jpg"))
    assert organize(few.config()).done == 0
    assert links(few) == before


@pytest.mark.parametrize("twin", ["equal pixels", "equal after compression"])
def test_a_training_picture_that_is_also_held_out_is_left_out_with_its_copies(few: DataSet, twin: str) -> None:
    pixels = np.full((224, 224, 3), (180, 120, 90), dtype=np.uint8)
    other = pixels.copy()
    other[100, 100, 2] += 1
    content = {
        "equal pixels": coded_as(pixels, "PNG") + b"trailing bytes: another file, the same picture",
        "equal after compression": coded_as(other, "PNG"),
    }[twin]
    # A class's first lesion goes to training, its second is held out.
    few.write_rows([row for row in few.rows() if row["dx"] in ("nv", "bkl", "df", "vasc")])
    few.add("one", coded_as(pixels, "PNG"), ".png", dx="mel")
    few.add("two", content, ".png", dx="mel")
    reports = run_data_side(few.config())
    split = few.column("split")
    train, held_out = ("one", "two") if split["one"] == TRAIN else ("two", "one")
    assert (split[train], split[held_out]) == (TRAIN, HELD_OUT)
    table = manifest(few)
    assert reports["organize"].details["left_out_as_held_out_twins"] == 1
    assert train not in set(table["image"])
    assert held_out in set(table["image"])
    assert not [file for file in links(few) if f"/{train}" in file]


def test_a_manifest_with_a_leak_is_not_written(processed: DataSet) -> None:
    path = layout.manifest(processed.folder)
    before = path.read_bytes()
    table, split = read_manifest(processed.folder), split_of_catalog(processed.folder)
    leaking = table.assign(group="lesion:one")
    with pytest.raises(LeakError, match="`group` lie on both sides"):
        write_manifest(processed.folder, leaking, split)
    augmented = table.assign(copy=np.where(table["split"] == HELD_OUT, 1, table["copy"]))
    with pytest.raises(DataError, match="held-out files are augmented copies"):
        write_manifest(processed.folder, augmented, split)
    assert path.read_bytes() == before


WRITTEN = {
    "ingest": "catalog.parquet",
    "resize": "processed_images/*.jpg",
    "augment": "processed_images/augmented/*.jpg",
    "organize": "manifest.parquet",
}


@pytest.mark.parametrize(
    ("stage", "files"), [("ingest", 0), ("resize", 0), ("resize", 3), ("augment", 2), ("organize", 0)]
)
def test_a_full_disk_in_any_stage_leaves_valid_files_and_the_next_run_completes_them(
    few: DataSet, undisturbed: Path, stage: str, files: int
) -> None:
    """The limit on the size of a file stands for the full disk: a file beyond it is written in part, then there is an error."""
    wanted = results(undisturbed)
    for earlier in list(WRITTEN)[: list(WRITTEN).index(stage)]:
        run_stage(earlier, few.config())
    sizes = sorted(path.stat().st_size for path in undisturbed.glob(WRITTEN[stage]))
    with largest_file(sizes[files] - 1), pytest.raises(OSError, match="File too large"):
        run_stage(stage, few.config())
    assert results(few.folder).items() <= wanted.items()
    run_data_side(few.config())
    assert results(few.folder) == wanted


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_linking_stops_and_the_next_run_completes(
    processed: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(processed.folder)
    shutil.rmtree(layout.output(processed.folder))
    link = os.link
    made: list[str] = []

    def fill_up(source: str, target: str) -> None:
        made.append(target)
        if len(made) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(source, target)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(os, "link", fill_up)
        patch.setattr(shutil, "copyfile", fill_up)
        organize(processed.config())
    assert len(links(processed)) == 5
    organize(processed.config())
    assert results(processed.folder) == before


@pytest.mark.parametrize("nth", [3, 27, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (8, 19))])
def test_a_run_that_was_killed_is_completed_by_the_next(few: DataSet, undisturbed: Path, nth: int) -> None:
    assert changes_of(lambda: run_data_side(few.config()), killed_before=nth) is None
    run_data_side(few.config())
    assert results(few.folder) == results(undisturbed)
    assert [path for path in few.folder.rglob("*") if ".partial" in path.name] == []
