from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.stages.data_set import DataSet, detail, jpeg, picture, run_data_side, snapshot

from skinlesion.data import catalog as contract
from skinlesion.data.catalog import accepted, read_catalog
from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, TRAIN, require_no_leak
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import read_table
from skinlesion.stages.ingest import ingest
from skinlesion.stages.organize import organize
from skinlesion.stages.resize import resize

Change = Callable[[bytes], bytes]


def sides(dataset: DataSet) -> dict[str, str]:
    return {image: side for image, side in dataset.column("split").items() if side}


def decisions(dataset: DataSet) -> pd.DataFrame:
    return read_table(layout.split(dataset.folder), DECISION_COLUMNS)


def remove_images(dataset: DataSet) -> None:
    shutil.rmtree(layout.images(dataset.folder))


def rewrite(text: str | bytes) -> Callable[[DataSet], object]:
    return lambda dataset: dataset.labels.write_bytes(text if isinstance(text, bytes) else text.encode())


# --- What a person must mend --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda dataset: shutil.rmtree(dataset.folder), r"dataset is missing: expected", id="no dataset"),
        pytest.param(remove_images, r"images is missing: expected", id="no images folder"),
        pytest.param(lambda dataset: dataset.labels.unlink(), r"diagnoses\.csv is missing: expected", id="no labels"),
        pytest.param(rewrite(""), r"diagnoses\.csv is empty: expected", id="empty"),
        pytest.param(rewrite("image,dx\n"), r"diagnoses\.csv has a header but no rows", id="header only"),
        pytest.param(rewrite("image,age\nA,3\n"), r"lacks the column dx; .* found: image, age", id="no dx"),
        pytest.param(rewrite("image,dx\nA,nv\nA,mel\n"), r"row 2: 'A' 'nv'; row 3: 'A' 'mel'", id="two diagnoses"),
        pytest.param(rewrite(b"image,dx\nA,nv\n\xff\xfe,mel\n"), r"line 3: not UTF-8", id="not UTF-8"),
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
    with pytest.raises(
        DataError, match=r"6 rows in diagnoses\.csv, 6 files in images/, all refused \(6 times: the file"
    ):
        ingest(few.config())
    assert {path.name for path in few.folder.iterdir()} == {"images", "diagnoses.csv", "tables"}


@pytest.mark.parametrize("before", ["never", "already ingested"])
def test_an_empty_images_folder_is_one_clear_error(few: DataSet, before: str) -> None:
    if before == "already ingested":
        ingest(few.config())
    remove_images(few)
    layout.images(few.folder).mkdir()
    with pytest.raises(DataError, match=r"0 files in images/, all refused \(6 times: no file of this name in images/"):
        ingest(few.config())


def test_the_split_cannot_be_decided_anew_by_losing_its_table(few: DataSet) -> None:
    ingest(few.config())
    layout.split(few.folder).unlink()
    before = few.catalog()
    with pytest.raises(DataError, match=r"split\.parquet is missing though catalog\.parquet is there.*Restore it"):
        ingest(few.config())
    assert few.catalog().equals(before)
    assert not layout.split(few.folder).exists()


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[: len(content) // 2]])
def test_a_damaged_split_table_is_one_clear_error_and_left_as_it_is(few: DataSet, damage: Change) -> None:
    ingest(few.config())
    path = layout.split(few.folder)
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    with pytest.raises(DataError, match=r"split\.parquet cannot be read .*Restore it from a backup"):
        ingest(few.config())
    assert path.read_bytes() == damaged


# --- What is refused, counted and explained -----------------------------------------------------------------------


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def cut_out(content: bytes) -> bytes:
    return content[: len(content) // 3] + content[2 * len(content) // 3 :]


def inverted(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 200]) + content[middle + 200 :]


SPOILED: dict[str, tuple[Change, str]] = {
    "truncated": (lambda jpeg: jpeg[: len(jpeg) // 2], r"does not decode whole"),
    "zero bytes": (lambda jpeg: b"", r"the file is empty"),
    "text": (lambda jpeg: b"not an image\n" * 50, r"not a readable image .*no known image format"),
    "header only": (lambda jpeg: jpeg[:100], r"not a readable image|does not decode whole"),
    "middle cut out": (cut_out, r"does not decode whole"),
    "middle inverted": (inverted, r"does not decode whole"),
}


@pytest.mark.parametrize("damage", SPOILED)
def test_a_damaged_jpeg_is_refused_with_its_reason_and_the_others_go_on(few: DataSet, damage: str) -> None:
    spoil, reason = SPOILED[damage]
    few.add("bad", spoil(jpeg(1)))
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (7, 1, 6)
    assert list(few.refusals()) == ["bad"]
    assert report.details["refused_because"] == {few.refusals()["bad"]: 1}
    assert re.search(reason, few.refusals()["bad"])
    assert few.of_image("bad", "group", "split") == ["", ""]
    assert resize(few.config()).seen == 6
    assert not (layout.processed(few.folder) / "bad.jpg").exists()


def test_an_image_smaller_than_the_setting_is_refused(few: DataSet) -> None:
    few.add("tiny", jpeg(1, (60, 33)))
    ingest(few.config(min_image_side=34))
    assert few.refusals() == {"tiny": "60x33 pixels; expected at least 34 on the short side"}
    ingest(few.config(min_image_side=33))
    assert few.refusals() == {}


def test_an_image_larger_than_the_setting_is_refused(few: DataSet) -> None:
    few.add("large", jpeg(1, (300, 200)))
    ingest(few.config(max_image_pixels=59_999))
    assert few.refusals() == {"large": "300x200 pixels; at most 59,999 are decoded"}
    ingest(few.config(max_image_pixels=60_000))
    assert few.refusals() == {}


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("../outside", "path separator"),
        ("sub/inside", "path separator"),
        ("back\\slash", "path separator"),
        ("/etc/passwd", "path separator"),
        ("..", "leading dot"),
        (".hidden", "leading dot"),
        ("nul\0byte", "control character"),
        ("line\nbreak", "control character"),
        ("x" * 300, "at most 200 are taken"),
        ("é" * 101, "has 202 bytes; at most 200 are taken"),
        ("mine__aug01", "as an augmented copy's does"),
    ],
)
def test_a_row_with_an_unusable_name_is_refused(few: DataSet, image: str, reason: str) -> None:
    few.add_row(image)
    outside = set(few.folder.parent.iterdir())
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (7, 1, 6)
    assert reason in few.refusals()[image]
    assert set(few.folder.parent.iterdir()) == outside


def test_rows_without_a_name_are_each_refused_by_their_row(few: DataSet) -> None:
    few.write_rows([*few.rows(), {"image": "", "dx": "nv"}, {"image": " .jpg", "dx": "mel"}])
    assert ingest(few.config()).refused == 2
    assert few.refusals() == dict.fromkeys(("(row 8)", "(row 9)"), "the row has no image name")


@pytest.mark.parametrize("image", ["x" * 200, "日" * 66])
def test_the_longest_names_go_through_every_stage(few: DataSet, image: str) -> None:
    few.add(image, jpeg(1))
    run_data_side(few.config())
    assert (layout.processed(few.folder) / f"{image}.jpg").is_file()
    assert few.refusals() == {}


def test_rows_without_a_file_and_files_without_a_row_are_refused(few: DataSet) -> None:
    few.put("no_row.jpg", jpeg(1))
    few.add_row("no_file")
    report = ingest(few.config())
    assert few.refusals() == {
        "no_file": "no file of this name in images/",
        "no_row": "no row in diagnoses.csv names this file",
    }
    assert (report.seen, report.refused) == (8, 2)


def test_two_files_of_one_name_are_refused_both(few: DataSet) -> None:
    few.add("twice", jpeg(1))
    few.put("other/twice.JPEG", jpeg(2))
    ingest(few.config())
    assert few.refusals() == {"twice": "more than one file of this name: other/twice.JPEG, twice.jpg"}
    few.original("other/twice.JPEG").unlink()
    ingest(few.config())
    assert few.refusals() == {}


def test_files_that_are_no_images_are_counted_and_hidden_folders_not_entered(few: DataSet) -> None:
    few.put("readme.txt", b"hello")
    few.put(".hidden.jpg", jpeg(1))
    few.put(".cache/deep.jpg", jpeg(2))
    report = ingest(few.config())
    assert (report.seen, report.details["other_files"]) == (6, 2)


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".JPEG"])
def test_suffixes_are_found_in_any_case_and_may_stand_in_the_table(few: DataSet, suffix: str) -> None:
    few.put(f"new{suffix}", jpeg(1))
    few.write_rows([*few.rows(), {"image": f"new{suffix}", "dx": "nv"}])
    assert ingest(few.config()).refused == 0
    assert few.of_image("new", "file") == [f"new{suffix}"]


def test_images_of_every_accepted_kind_go_through_to_the_training_view(few: DataSet) -> None:
    image = Image.fromarray(picture(1))
    sixteen = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    kinds = {
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(Image.fromarray(picture(2)).convert("L"), "JPEG"),
        "sixteen.png": encoded(sixteen, "PNG"),
        "opaque.png": encoded(Image.fromarray(picture(3)).convert("RGBA"), "PNG"),
        "palette.gif": encoded(Image.fromarray(picture(4)).convert("P"), "GIF"),
        "lossless.webp": encoded(Image.fromarray(picture(5)), "WEBP", lossless=True),
        "plain.bmp": encoded(Image.fromarray(picture(6)), "BMP"),
        "packed.tif": encoded(Image.fromarray(picture(7)), "TIFF", compression="tiff_lzw"),
        "misnamed.jpg": encoded(Image.fromarray(picture(8)), "PNG"),
    }
    for file, content in kinds.items():
        stem, _, suffix = file.partition(".")
        few.add(stem, content, f".{suffix}")
    reports = run_data_side(few.config())
    assert few.refusals() == {}
    assert [reports[stage].refused for stage in ("ingest", "resize", "organize")] == [0, 0, 0]
    assert {path.stem for path in layout.output(few.folder).rglob("*.jpg")} >= {file.split(".")[0] for file in kinds}


def test_dx_in_any_case_is_taken_and_what_is_not_known_is_counted(few: DataSet) -> None:
    for seed, dx in enumerate((" MEL ", "Nv", "zebra", "Zebra", "")):
        few.add(f"new{seed}", jpeg(seed), dx=dx)
    report = ingest(few.config())
    labels = few.column("label")
    assert [labels[f"new{seed}"] for seed in range(5)] == ["malignant", "benign", "unknown", "unknown", "unknown"]
    assert report.details["unrecognised_dx"] == {"zebra": 2}
    assert report.details["blank_dx"] == 1


def test_a_class_without_training_images_is_counted_as_such(few: DataSet) -> None:
    few.write_rows([row | {"dx": "nv"} for row in few.rows()])
    reports = run_data_side(few.config())
    none = {split: {"images": 0, "lesions": 0} for split in (TRAIN, HELD_OUT)}
    assert detail(reports["ingest"], "classes", "malignant") == none
    assert (layout.output(few.folder) / "malignant").is_dir()
    assert organize(few.config()).done == 0


# --- Incremental --------------------------------------------------------------------------------------------------


def test_a_second_run_reads_no_image_and_changes_no_file(dataset: DataSet) -> None:
    first = ingest(dataset.config())
    before = snapshot(dataset.folder)
    second = ingest(dataset.config())
    assert (first.done, second.done, second.skipped) == (18, 0, 18)
    assert snapshot(dataset.folder) == before
    assert second.details == first.details


def test_one_new_image_is_the_only_one_read(dataset: DataSet) -> None:
    ingest(dataset.config())
    before = dataset.catalog()
    dataset.add("new", jpeg(1))
    report = ingest(dataset.config())
    assert (report.done, report.skipped) == (1, 18)
    assert dataset.catalog().drop(index="new").equals(before)


def test_a_touched_original_is_read_but_nothing_follows_from_it(few: DataSet) -> None:
    ingest(few.config())
    before = few.catalog()
    few.touch(str(before.index[0]))
    assert ingest(few.config()).done == 1
    assert few.catalog().equals(before)


@pytest.mark.parametrize("damage", [lambda content: b"garbage", lambda content: content[:-20], lambda content: b""])
def test_a_damaged_table_leads_to_the_same_catalog(few: DataSet, damage: Change) -> None:
    ingest(few.config())
    before = few.catalog()
    parts = sorted(layout.tables(few.folder, "ingest").iterdir())
    parts[0].write_bytes(damage(parts[0].read_bytes()))
    assert ingest(few.config()).done >= 1
    assert few.catalog().equals(before)
    assert ingest(few.config()).done == 0


def test_force_reads_every_image_and_gives_the_same_catalog(few: DataSet) -> None:
    ingest(few.config())
    before = few.catalog()
    assert ingest(few.config(force=True)).done == 6
    assert few.catalog().equals(before)


def test_another_held_out_share_reads_no_image_and_moves_none(dataset: DataSet) -> None:
    ingest(dataset.config())
    before = sides(dataset)
    assert ingest(dataset.config(held_out_fraction=0.5)).done == 0
    assert sides(dataset) == before


# --- The split ----------------------------------------------------------------------------------------------------


def test_no_image_changes_side_while_the_data_set_grows(dataset: DataSet) -> None:
    rows = dataset.rows()
    seen: dict[str, str] = {}
    for count in (3, 7, 12, 18):
        dataset.write_rows(rows[:count])
        ingest(dataset.config())
        now = sides(dataset)
        assert len(now) == count
        assert {image: now[image] for image in seen} == seen
        seen = now
        require_no_leak(accepted(read_catalog(dataset.folder)), ["group", "lesion_id"])
    assert set(seen.values()) == {TRAIN, HELD_OUT}


def test_an_image_that_went_away_comes_back_to_its_side(dataset: DataSet) -> None:
    ingest(dataset.config())
    before = sides(dataset)
    rows = dataset.rows()
    held_out = dataset.images_of(HELD_OUT)
    dataset.write_rows([row for row in rows if row["image"] not in held_out])
    ingest(dataset.config())
    assert not set(held_out) & set(sides(dataset))
    dataset.write_rows(rows)
    ingest(dataset.config())
    assert sides(dataset) == before


def test_equal_files_under_two_lesions_are_one_group(few: DataSet) -> None:
    few.add("one", jpeg(1), lesion_id="L1")
    few.add("two", jpeg(1), lesion_id="L2")
    ingest(few.config())
    one, two = (few.of_image(name, "group", "split") for name in ("one", "two"))
    assert one == two
    assert one[0] == "lesion:L1"


def test_when_two_sides_turn_out_to_be_one_lesion_held_out_wins(dataset: DataSet) -> None:
    ingest(dataset.config())
    train, held_out = dataset.images_of(TRAIN)[0], dataset.images_of(HELD_OUT)[0]
    dataset.relabel({train, held_out}, lesion_id="joined")
    ingest(dataset.config())
    assert {sides(dataset)[image] for image in (train, held_out)} == {HELD_OUT}
    dataset.relabel({train}, lesion_id="parted again")
    ingest(dataset.config())
    assert sides(dataset)[train] == HELD_OUT


def test_a_patient_groups_pictures_only_where_no_lesion_is_named(few: DataSet) -> None:
    for seed, lesion in enumerate(("", "", "L1", "L2")):
        few.add(f"new{seed}", jpeg(seed), lesion_id=lesion, patient_id="P")
    ingest(few.config())
    groups = few.column("group")
    assert [groups[f"new{seed}"] for seed in range(4)] == ["patient:P", "patient:P", "lesion:L1", "lesion:L2"]


def test_the_sides_are_on_disk_before_the_catalog_that_tells_them(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(contract, "write_catalog", killed)
        ingest(few.config())
    before = decisions(few)
    ingest(few.config())
    assert decisions(few).equals(before)
    decided = dict(zip(before["key"], before["split"], strict=True))
    assert sides(few) == {image: decided[f"image:{image}"] for image in sides(few)}
