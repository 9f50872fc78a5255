from __future__ import annotations

import io
import re
import shutil
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.stages.data_set import DataSet, detail, jpeg, picture, run_data_side, snapshot

from skinlesion.data import catalog as contract
from skinlesion.data.catalog import POOL, accepted, read_catalog
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


@pytest.mark.parametrize("data", ["few", "processed"], ids=["never ingested", "already ingested"])
def test_an_empty_images_folder_is_one_clear_error(request: pytest.FixtureRequest, data: str) -> None:
    dataset: DataSet = request.getfixturevalue(data)
    remove_images(dataset)
    layout.images(dataset.folder).mkdir()
    with pytest.raises(DataError, match=r"0 files in images/, all refused \(6 times: no file of this name in images/"):
        ingest(dataset.config())


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


def test_damaged_jpegs_are_refused_with_their_reasons_and_the_others_go_on(few: DataSet) -> None:
    for seed, (damage, (spoil, _)) in enumerate(SPOILED.items()):
        few.add(damage, spoil(jpeg(seed)))
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (12, 6, 6)
    assert few.refusals().keys() == SPOILED.keys()
    assert report.details["refused_because"] == Counter(few.refusals().values())
    for damage, (_, reason) in SPOILED.items():
        assert re.search(reason, few.refusals()[damage])
        assert few.of_image(damage, "group", "split") == ["", ""]
    assert resize(few.config()).seen == 6
    assert not SPOILED.keys() & {path.stem for path in layout.processed(few.folder).iterdir()}


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


UNUSABLE_NAMES = {
    "../outside": "path separator",
    "sub/../inside": "path separator",
    ".hidden\\slash": "path separator",
    "/etc/.passwd": "path separator",
    "..": "leading dot",
    ".hidden": "leading dot",
    "nul\0byte": "control character",
    "line\nbreak": "control character",
    "x" * 300: "at most 200 are taken",
    "é" * 101: "has 202 bytes; at most 200 are taken",
    "mine__aug01": "as an augmented copy's does",
}


def test_rows_with_unusable_names_are_refused(few: DataSet) -> None:
    few.write_rows([*few.rows(), *({"image": image, "dx": "nv"} for image in UNUSABLE_NAMES)])
    outside = set(few.folder.parent.iterdir())
    report = ingest(few.config())
    assert (report.seen, report.refused, report.details["accepted"]) == (17, 11, 6)
    refusals = few.refusals()
    assert [image for image, reason in UNUSABLE_NAMES.items() if reason not in refusals[image]] == []
    assert set(few.folder.parent.iterdir()) == outside


def test_rows_without_a_name_are_each_refused_by_their_row(few: DataSet) -> None:
    few.write_rows([*few.rows(), {"image": "", "dx": "nv"}, {"image": " .jpg", "dx": "mel"}])
    assert ingest(few.config()).refused == 2
    assert few.refusals() == dict.fromkeys(("(row 8)", "(row 9)"), "the row has no image name")


def test_the_longest_names_go_through_every_stage(few: DataSet) -> None:
    for seed, image in enumerate(names := ("x" * 200, "日" * 66)):
        few.add(image, jpeg(seed))
    run_data_side(few.config())
    assert {path.stem for path in layout.processed(few.folder).glob("*.jpg")} >= set(names)
    assert few.refusals() == {}


def test_rows_without_a_file_are_refused(few: DataSet) -> None:
    few.add_row("no_file")
    report = ingest(few.config())
    assert few.refusals() == {"no_file": "no file of this name in images/"}
    assert (report.seen, report.refused) == (7, 1)


def test_two_files_of_one_name_are_refused_both(few: DataSet) -> None:
    few.add("twice", jpeg(1))
    few.put("other/twice.JPEG", jpeg(2))
    ingest(few.config())
    assert few.refusals() == {
        "twice": "more than one file of this name, of different content: other/twice.JPEG, twice.jpg"
    }
    few.original("other/twice.JPEG").unlink()
    ingest(few.config())
    assert few.refusals() == {}


def test_files_that_are_no_images_are_counted_and_hidden_folders_not_entered(few: DataSet) -> None:
    few.put("readme.txt", b"hello")
    few.put(".hidden.jpg", jpeg(1))
    few.put(".cache/deep.jpg", jpeg(2))
    report = ingest(few.config())
    assert (report.seen, report.details["other_files"]) == (6, 2)


def test_suffixes_are_found_in_any_case_and_may_stand_in_the_table(few: DataSet) -> None:
    files = {"one": "one.JPG", "two": "two.jpeg", "three": "three.JPEG"}
    for seed, file in enumerate(files.values()):
        few.put(file, jpeg(seed))
        few.add_row(file)
    assert ingest(few.config()).refused == 0
    assert few.column("file").items() >= files.items()


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
    for seed, dx in enumerate((" MEL ", "Nv", "zebra", "Zebra", "unknown")):
        few.add(f"new{seed}", jpeg(seed), dx=dx)
    report = ingest(few.config())
    labels = few.column("label")
    assert [labels[f"new{seed}"] for seed in range(5)] == ["malignant", "benign", "unknown", "unknown", "unknown"]
    assert report.details["unrecognised_dx"] == {"zebra": 2}


def test_a_class_without_training_images_is_counted_as_such(few: DataSet) -> None:
    few.write_rows([row | {"dx": "nv"} for row in few.rows()])
    reports = run_data_side(few.config())
    none = {split: {"images": 0, "lesions": 0} for split in (TRAIN, HELD_OUT)}
    assert detail(reports["ingest"], "classes", "malignant") == none
    assert (layout.output(few.folder) / "malignant").is_dir()
    assert organize(few.config()).done == 0


# --- Incremental --------------------------------------------------------------------------------------------------


def test_a_second_run_reads_no_image_and_changes_no_file(few: DataSet) -> None:
    first = ingest(few.config())
    before = snapshot(few.folder)
    second = ingest(few.config())
    assert (first.done, second.done, second.skipped) == (6, 0, 6)
    assert snapshot(few.folder) == before
    assert second.details == first.details


def test_one_new_image_is_the_only_one_read(processed: DataSet) -> None:
    before = processed.catalog()
    processed.add("new", jpeg(1))
    report = ingest(processed.config())
    assert (report.done, report.skipped) == (1, 6)
    assert processed.catalog().drop(index="new").equals(before)


def test_force_reads_every_image_and_gives_the_same_catalog(processed: DataSet) -> None:
    before = processed.catalog()
    assert ingest(processed.config(force=True)).done == 6
    assert processed.catalog().equals(before)


def test_another_held_out_share_reads_no_image_and_moves_none(processed: DataSet) -> None:
    before = sides(processed)
    assert ingest(processed.config(held_out_fraction=0.5)).done == 0
    assert sides(processed) == before


# --- The split ----------------------------------------------------------------------------------------------------


def test_no_image_changes_side_while_the_data_set_grows(dataset: DataSet) -> None:
    rows = dataset.rows()
    seen: dict[str, str] = {}
    for count in (3, 7, 12, 18):
        dataset.write_rows(rows[:count])
        ingest(dataset.config())
        now = {image: side for image, side in sides(dataset).items() if side != POOL}
        assert len(now) == count
        assert {image: now[image] for image in seen} == seen
        seen = now
        require_no_leak(accepted(read_catalog(dataset.folder)), ["group", "lesion_id"])
    assert set(seen.values()) == {TRAIN, HELD_OUT}


def test_an_image_that_went_away_comes_back_to_its_side(processed: DataSet) -> None:
    before = sides(processed)
    rows = processed.rows()
    held_out = processed.images_of(HELD_OUT)
    processed.write_rows([row for row in rows if row["image"] not in held_out])
    ingest(processed.config())
    assert {sides(processed)[image] for image in held_out} == {POOL}
    processed.write_rows(rows)
    ingest(processed.config())
    assert sides(processed) == before


def test_equal_files_under_two_lesions_are_one_group(few: DataSet) -> None:
    few.add("one", jpeg(1), lesion_id="L1")
    few.add("two", jpeg(1), lesion_id="L2")
    ingest(few.config())
    one, two = (few.of_image(name, "group", "split") for name in ("one", "two"))
    assert one == two
    assert one[0] == "lesion:L1"


def test_when_two_sides_turn_out_to_be_one_lesion_held_out_wins(processed: DataSet) -> None:
    train, held_out = processed.images_of(TRAIN)[0], processed.images_of(HELD_OUT)[0]
    processed.relabel({train, held_out}, lesion_id="joined")
    ingest(processed.config())
    assert {sides(processed)[image] for image in (train, held_out)} == {HELD_OUT}
    processed.relabel({train}, lesion_id="parted again")
    ingest(processed.config())
    assert sides(processed)[train] == HELD_OUT


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
