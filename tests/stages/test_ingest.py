from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from tests.stages.data_set import DataSet, detail, jpeg, run_data_side, snapshot

from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.ingest import ingest
from skinlesion.stages.organize import organize
from skinlesion.stages.resize import resize

Change = Callable[[bytes], bytes]


def sides(dataset: DataSet) -> dict[str, str]:
    return {image: side for image, side in dataset.column("split").items() if side}


def remove_images(dataset: DataSet) -> None:
    shutil.rmtree(layout.images(dataset.folder))


def two_diagnoses(dataset: DataSet) -> None:
    dataset.labels.write_text("image,dx\nA,nv\nA,mel\n")


# --- What a person must mend --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda dataset: shutil.rmtree(dataset.folder), r"dataset is missing: expected", id="no dataset"),
        pytest.param(remove_images, r"images is missing: expected", id="no images folder"),
        pytest.param(two_diagnoses, r"row 2: 'A' 'nv'; row 3: 'A' 'mel'", id="two diagnoses"),
    ],
)
def test_an_unusable_data_set_is_one_clear_error_and_leaves_nothing(
    few: DataSet, spoil: Callable[[DataSet], object], message: str
) -> None:
    spoil(few)
    before = snapshot(few.folder)
    with pytest.raises(DataError, match=message):
        ingest(few.config())
    assert snapshot(few.folder) == before


def test_without_one_usable_image_the_error_has_the_reasons_and_no_catalog_is_written(few: DataSet) -> None:
    for row in few.rows():
        few.put(f"{row['image']}.jpg", b"")
    with pytest.raises(DataError, match=r"6 rows in .*, 6 files in images/, all refused \(6 times: the file"):
        ingest(few.config())
    assert {path.name for path in few.folder.iterdir()} == {"images", "diagnoses.csv", "tables"}


def test_images_that_are_all_gone_are_one_clear_error(processed: DataSet) -> None:
    remove_images(processed)
    layout.images(processed.folder).mkdir()
    with pytest.raises(DataError, match=r"0 files in images/, all refused \(6 times: no file of this name in images/"):
        ingest(processed.config())


def test_the_split_cannot_be_decided_anew_by_losing_its_table(processed: DataSet) -> None:
    layout.split(processed.folder).unlink()
    before = processed.catalog()
    with pytest.raises(DataError, match=r"split\.parquet is missing though catalog\.parquet knows.*Restore it"):
        ingest(processed.config())
    assert processed.catalog().equals(before)
    assert not layout.split(processed.folder).exists()


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[: len(content) // 2]])
def test_a_damaged_split_table_is_one_clear_error_and_left_as_it_is(processed: DataSet, damage: Change) -> None:
    path = layout.split(processed.folder)
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    with pytest.raises(DataError, match=r"split\.parquet cannot be read .*Restore it from a backup"):
        ingest(processed.config())
    assert path.read_bytes() == damaged


# --- What is refused, counted and explained -----------------------------------------------------------------------


def test_damaged_jpegs_are_refused_with_their_reasons_and_the_others_go_on(few: DataSet) -> None:
    few.add("truncated", jpeg(1)[:-500])
    for image in ("empty", "empty too"):
        few.add(image, b"")
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (9, 3, 6)
    truncated = few.refusals()["truncated"]
    assert "does not decode whole" in truncated
    assert few.refusals() == {"truncated": truncated} | dict.fromkeys(("empty", "empty too"), "the file is empty")
    assert report.details["refused_because"] == {"the file is empty": 2, truncated: 1}
    assert few.of_image("truncated", "group", "split") == ["", ""]
    assert resize(few.config()).seen == 6
    assert not few.refusals().keys() & {path.stem for path in layout.processed(few.folder).iterdir()}


@pytest.mark.parametrize(
    ("size", "setting", "step", "reason"),
    [
        ((60, 33), {"min_image_side": 34}, -1, "60x33 pixels; expected at least 34 on the short side"),
        ((300, 200), {"max_image_pixels": 59_999}, 1, "300x200 pixels; at most 59,999 are decoded"),
    ],
)
def test_an_image_smaller_or_larger_than_the_setting_is_refused(
    few: DataSet, size: tuple[int, int], setting: dict[str, int], step: int, reason: str
) -> None:
    few.add("odd", jpeg(1, size))
    ingest(few.config(**setting))
    assert few.refusals() == {"odd": reason}
    ingest(few.config(**{name: bound + step for name, bound in setting.items()}))
    assert few.refusals() == {}


def test_rows_with_unusable_names_are_refused(few: DataSet) -> None:
    reasons = {
        "../outside": "path separator",
        "..": "leading dot",
        "line\nbreak": "control character",
        "": "no image name",
    }
    few.write_rows([*few.rows(), *({"image": image, "dx": "nv"} for image in reasons)])
    outside = set(few.folder.parent.iterdir())
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (10, 4, 6)
    refusals = few.refusals()
    assert [image for image, reason in reasons.items() if reason not in refusals[image or "(row 11)"]] == []
    assert set(few.folder.parent.iterdir()) == outside


def test_the_longest_names_go_through_every_stage(few: DataSet) -> None:
    for seed, image in enumerate(names := ("x" * 200, "日" * 66)):
        few.add(image, jpeg(seed))
    run_data_side(few.config())
    assert {path.stem for path in layout.processed(few.folder).glob("*.jpg")} >= set(names)
    assert few.refusals() == {}


def test_a_class_without_training_images_is_counted_as_such(few: DataSet) -> None:
    few.write_rows([row | {"dx": "nv"} for row in few.rows()])
    reports = run_data_side(few.config())
    none = {split: {"images": 0, "lesions": 0} for split in (TRAIN, HELD_OUT)}
    assert detail(reports["ingest"], "classes", "malignant") == none
    assert (layout.output(few.folder) / "malignant").is_dir()
    assert organize(few.config()).done == 0


def test_force_reads_every_image_and_gives_the_same_catalog(processed: DataSet) -> None:
    before = processed.catalog()
    assert ingest(processed.config(force=True)).done == 6
    assert processed.catalog().equals(before)


def test_the_data_report_says_what_the_tables_say_today_though_the_catalog_is_the_same(few: DataSet) -> None:
    ingest(few.config())
    before = layout.catalog(few.folder).read_bytes()
    (few.folder / "labels").mkdir()
    (few.folder / "labels" / "list.doc").write_text("")
    ingest(few.config())
    assert layout.catalog(few.folder).read_bytes() == before
    assert "Not read in labels/: list.doc" in layout.data_report(few.folder).read_text()
    (few.folder / "labels" / "list.doc").unlink()
    ingest(few.config())
    assert "list.doc" not in layout.data_report(few.folder).read_text()
