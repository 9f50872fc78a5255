"""Copies that are not equal files: how they are found, and what ingest and the stages after it make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.data.images.dicoms import coded_as
from tests.data.images.test_image_match import COPIES
from tests.made_once import MakeOnce
from tests.stages.data_set import DataSet, as_jpeg, calls_of, copy_tree, detail, jpeg, picture, run_data_side, snapshot

from skinlesion.data.images import near_duplicates
from skinlesion.data.images.near_duplicates import find_near_duplicates
from skinlesion.data.manifest import read_manifest
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.stage_report import StageReport
from skinlesion.foundation.tables import write_table
from skinlesion.stages.ingest import ingest
from skinlesion.stages.settings import PipelineConfig

Change = Callable[[Path], object]


def copy_of(dataset: DataSet, image: str, name: str, kind: str = "quarter turn", **values: str) -> Path:
    """Add a copy of an image to the data set, strongly compressed, of a lesion of its own unless `values` name one."""
    pixels = COPIES[kind](np.asarray(Image.open(dataset.original(f"{image}.jpg"))))
    content, suffix = (coded_as(pixels, "PNG"), ".png") if kind == "as it is" else (as_jpeg(pixels, 50), ".jpg")
    dx = next(row["dx"] for row in dataset.rows() if row["image"] == image)
    return dataset.add(name, content, suffix, **({"dx": dx} | values))


def counts(report: StageReport) -> dict[str, int]:
    return dict(detail(report, "duplicates"))


def groups_of(dataset: DataSet, *images: str) -> set[str]:
    groups = dataset.column("group")
    return {groups[image] for image in images}


# --- What is found ------------------------------------------------------------------------------------------------


def test_copies_of_every_kind_join_their_pictures_and_have_their_sides(few: DataSet) -> None:
    for seed, kind in enumerate(COPIES):
        few.add(f"original of {kind}", jpeg(seed, (300, 225)), lesion_id=f"A{seed}")
        copy_of(few, f"original of {kind}", f"copy of {kind}", kind, lesion_id=f"B{seed}")
    report = ingest(few.config())
    for seed, kind in enumerate(COPIES):
        original, copy = (few.of_image(f"{name} of {kind}", "group", "split") for name in ("original", "copy"))
        assert original == copy
        assert original in ([f"lesion:A{seed}", TRAIN], [f"lesion:A{seed}", HELD_OUT])
    expected = dict.fromkeys(("near_duplicate_pairs", "groups_joined"), len(COPIES))
    assert {name: count for name, count in counts(report).items() if count} == expected


@pytest.mark.parametrize("images", [40, pytest.param(120, marks=pytest.mark.slow)])
def test_pictures_of_different_lesions_are_not_joined(tmp_path: Path, images: int) -> None:
    drawn = write_sample(tmp_path / "dataset", images=images, seed=5, size=(200, 150))
    report = ingest(DataSet(tmp_path / "dataset").config())
    assert counts(report)["groups_joined"] == 0
    assert report.details["groups"] == drawn.lesions


def test_blank_pictures_are_joined_only_when_their_files_are_equal(few: DataSet) -> None:
    for name, level in (("one", 100), ("two", 101), ("three", 101)):
        few.add(name, coded_as(np.full((90, 120, 3), level, dtype=np.uint8), "PNG"), ".png")
    ingest(few.config())
    groups = few.column("group")
    assert groups["one"] != groups["two"] == groups["three"]


def test_copies_of_copies_are_one_group(few: DataSet) -> None:
    few.add("c", jpeg(7, (300, 225)))
    for name, kind in (("a", "all edges gone"), ("b", "as it is"), ("d", "mirrored")):
        copy_of(few, "c", name, kind)
    ingest(few.config())
    assert len(groups_of(few, *"abcd")) == 1


def test_a_crowd_of_copies_is_joined_although_each_is_compared_with_few(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_CANDIDATES", 4)
    copies = [f"copy{quality}" for quality in range(50, 66)]
    for at, name in enumerate(copies):
        few.add(name, as_jpeg(picture(7), 50 + at))
    looked_at = calls_of(monkeypatch, near_duplicates, "likeness")
    ingest(few.config())
    assert len(groups_of(few, *copies)) == 1
    assert len(looked_at) < len(copies) * (len(copies) - 1) / 2


def test_with_the_setting_off_copies_are_apart_and_equal_files_still_one(few: DataSet) -> None:
    few.add("original", jpeg(7))
    few.add("equal", few.original("original.jpg").read_bytes())
    copy_of(few, "original", "copy")
    report = ingest(few.config(near_duplicates=False))
    groups = few.column("group")
    assert groups["original"] == groups["equal"] != groups["copy"]
    assert counts(report)["near_duplicate_pairs"] == 0
    assert not layout.tables(few.folder, "duplicates").exists()
    ingest(few.config())
    assert len(groups_of(few, "original", "equal", "copy")) == 1


# --- Each pair once -----------------------------------------------------------------------------------------------


@pytest.fixture
def with_copy(make_once: MakeOnce, sample: DataSet, tmp_path: Path) -> DataSet:
    """Return six images, another one and its copy, ingested."""

    def fill(folder: Path) -> None:
        originals = DataSet(folder / "originals").borrow(sample, sample.rows()[:6])
        originals.add("original", jpeg(7))
        copy_of(originals, "original", "copy")
        ingest(DataSet(folder / "dataset").borrow(originals, originals.rows()).config())

    copy_tree(make_once("with_copy", fill) / "dataset", tmp_path / "dataset")
    return DataSet(tmp_path / "dataset")


def pairs_in(dataset: DataSet) -> pd.DataFrame:
    (path,) = layout.tables(dataset.folder, "duplicates").glob("*/pairs.parquet")
    return pd.read_parquet(path)


def test_a_second_run_compares_nothing_and_changes_no_file(with_copy: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    searched, looked_at = (calls_of(monkeypatch, near_duplicates, name) for name in ("_candidates", "likeness"))
    before = snapshot(with_copy.folder)
    assert counts(ingest(with_copy.config()))["near_duplicate_pairs"] == 1
    assert searched == looked_at == []
    assert snapshot(with_copy.folder) == before


def test_only_a_new_picture_is_compared(with_copy: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = pairs_in(with_copy)
    with_copy.add("new", jpeg(99))
    searched = calls_of(monkeypatch, near_duplicates, "_candidates")
    ingest(with_copy.config())
    assert len(searched) == 1
    assert pairs_in(with_copy).equals(before)


def test_a_renamed_file_is_not_compared_again(with_copy: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_copy.original("copy.jpg")
    path.rename(path.with_name("other.jpg"))
    with_copy.write_rows([row | {"image": row["image"].replace("copy", "other")} for row in with_copy.rows()])
    searched = calls_of(monkeypatch, near_duplicates, "_candidates")
    ingest(with_copy.config())
    assert searched == []
    assert len(groups_of(with_copy, "original", "other")) == 1


def test_copies_are_found_whichever_comes_first(few: DataSet) -> None:
    few.add("original", jpeg(7))
    copy_of(few, "original", "copy", "as it is")
    ingest(few.config())
    whole = pairs_in(few)
    content = few.original("original.jpg").read_bytes()
    few.original("original.jpg").unlink()
    ingest(few.config())
    assert pairs_in(few).empty
    few.put("original.jpg", content)
    ingest(few.config())
    assert pairs_in(few).equals(whole)
    assert len(groups_of(few, "original", "copy")) == 1


@pytest.mark.parametrize("name", ["pairs", "compared"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"garbage"), lambda path: path.unlink()])
def test_a_damaged_or_lost_table_is_made_again(with_copy: DataSet, name: str, damage: Change) -> None:
    (path,) = layout.tables(with_copy.folder, "duplicates").glob(f"*/{name}.parquet")
    before, catalog = path.read_bytes(), with_copy.catalog()
    damage(path)
    ingest(with_copy.config())
    assert path.read_bytes() == before
    assert with_copy.catalog().equals(catalog)


def test_other_thresholds_compare_all_anew_and_leave_no_old_table(
    with_copy: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "LEAST_LIKENESS", 1.01)
    assert counts(ingest(with_copy.config()))["near_duplicate_pairs"] == 0
    assert len(list(layout.tables(with_copy.folder, "duplicates").iterdir())) == 1
    monkeypatch.undo()
    assert counts(ingest(with_copy.config()))["near_duplicate_pairs"] == 1


@pytest.mark.parametrize("nth", [0, 5, *(pytest.param(nth, marks=pytest.mark.slow) for nth in (1, 2, 3, 4))])
def test_a_search_that_was_killed_is_completed_by_the_next(
    with_copy: DataSet, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    whole, catalog = pairs_in(with_copy), with_copy.catalog()
    written: list[object] = []

    def die(*args: Any) -> bool:
        if len(written) == nth:
            raise KeyboardInterrupt
        written.append(args)
        return write_table(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(near_duplicates, "_CONTENTS_BETWEEN_WRITES", 3)
        patch.setattr(near_duplicates, "write_table", die)
        ingest(with_copy.config(force=True))
    ingest(with_copy.config())
    assert pairs_in(with_copy).equals(whole)
    assert with_copy.catalog().equals(catalog)


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"another file")])
def test_a_file_that_changed_since_it_was_hashed_is_compared_by_the_next_run(
    few: DataSet, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    few.add("original", jpeg(7))
    path = copy_of(few, "original", "copy")
    content = path.read_bytes()

    def disturbed(config: PipelineConfig, files: pd.DataFrame) -> pd.DataFrame:
        change(path)
        pairs = find_near_duplicates(config, files)
        path.write_bytes(content)
        return pairs

    with monkeypatch.context() as patch:
        patch.setattr("skinlesion.stages.ingest.find_near_duplicates", disturbed)
        assert counts(ingest(few.config()))["near_duplicate_pairs"] == 0
    assert counts(ingest(few.config()))["near_duplicate_pairs"] == 1


# --- Two diagnoses ------------------------------------------------------------------------------------------------


def test_pictures_with_two_diagnoses_are_set_aside_under_both_names_and_reported(few: DataSet) -> None:
    few.add("one equal", jpeg(99), dx="nv")
    few.add("two equal", jpeg(99), dx="mel")
    few.add("one alike", jpeg(1, (300, 225)), dx="nv")
    copy_of(few, "one alike", "two alike", dx="mel")
    report = ingest(few.config())
    refusals, until = few.refusals(), "set aside until they agree"
    for kind in ("equal", "alike"):
        one, two = f"one {kind}", f"two {kind}"
        assert refusals[one] == f"the same picture as {two} with another diagnosis: nv here, mel there; {until}"
        assert refusals[two] == f"the same picture as {one} with another diagnosis: mel here, nv there; {until}"
        assert few.of_image(one, "group", "split") == few.of_image(two, "group", "split") == [f"lesion:IL_of_{one}", ""]
    assert (report.refused, report.details["accepted"], counts(report)["set_aside"]) == (4, 6, 4)


@pytest.mark.parametrize("split", [TRAIN, HELD_OUT])
def test_a_mended_conflict_returns_to_its_old_side(processed: DataSet, split: str) -> None:
    before = processed.column("split")
    image = processed.images_of(split)[0]
    dx = next(row["dx"] for row in processed.rows() if row["image"] == image)
    copy_of(processed, image, "copy", dx="df" if dx != "df" else "nv")
    ingest(processed.config())
    assert processed.refusals().keys() == {image, "copy"}
    assert processed.column("split") == before | {image: "", "copy": ""}
    processed.relabel({"copy"}, dx=dx)
    ingest(processed.config())
    assert processed.refusals() == {}
    assert processed.column("split") == before | {"copy": split}


def test_a_picture_that_is_set_aside_still_makes_its_lesions_one(processed: DataSet) -> None:
    image = processed.images_of(HELD_OUT)[0]
    processed.relabel({image}, dx="nv", lesion_id="old")
    copy_of(processed, image, "copy", dx="mel", lesion_id="new")
    processed.add("view", jpeg(50), dx="mel", lesion_id="new")
    ingest(processed.config())
    assert processed.refusals().keys() == {image, "copy"}
    assert processed.column("split")["view"] == HELD_OUT


def test_a_data_set_of_nothing_but_conflicts_is_one_clear_error(few: DataSet) -> None:
    few.write_rows([])
    few.add("one", jpeg(7), dx="nv")
    copy_of(few, "one", "two", dx="mel")
    for path in layout.images(few.folder).glob("ISIC_*"):
        path.unlink()
    with pytest.raises(DataError, match=r"all refused .*the same picture as"):
        ingest(few.config())


# --- Groups that turn out to be one -------------------------------------------------------------------------------


def bridge(dataset: DataSet) -> set[str]:
    """Add a copy of a held-out picture to a training lesion; return the images that must leave training."""
    catalog = dataset.catalog()
    held_out, trained = dataset.images_of(HELD_OUT)[0], dataset.images_of(TRAIN)[0]
    lesion = str(catalog.loc[trained, "lesion_id"])
    dataset.relabel({held_out}, dx=str(catalog.loc[trained, "dx"]))
    copy_of(dataset, held_out, "bridge", lesion_id=lesion)
    return set(catalog.index[catalog["lesion_id"] == lesion])


def test_the_training_copies_of_a_joined_group_leave_training_everywhere(processed: DataSet) -> None:
    before = processed.column("split")
    leave = bridge(processed)
    reports = run_data_side(processed.config())
    assert processed.column("split") == before | dict.fromkeys({*leave, "bridge"}, HELD_OUT)
    assert counts(reports["ingest"])["left_training"] == len(leave)
    assert counts(ingest(processed.config()))["left_training"] == 0
    manifest = read_manifest(processed.folder)
    theirs = manifest[manifest["image"].isin(leave)]
    assert (theirs["split"] == HELD_OUT).all()
    assert (theirs["copy"] == 0).all()
    for folder in (layout.augmented(processed.folder), layout.output(processed.folder)):
        copies = {path.name.partition("__aug")[0] for path in folder.rglob("*__aug*.jpg")}
        assert copies == set(processed.images_of(TRAIN))


def test_what_left_training_does_not_come_back_when_the_bridge_is_gone(processed: DataSet) -> None:
    leave = bridge(processed)
    ingest(processed.config())
    processed.original("bridge.jpg").unlink()
    processed.remove_row("bridge")
    ingest(processed.config())
    assert {processed.column("split")[image] for image in leave} == {HELD_OUT}
