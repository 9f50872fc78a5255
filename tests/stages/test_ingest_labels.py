"""Which tables ingest takes, how their rows find the files, and what it makes of labels as people have them."""

from __future__ import annotations

import csv
import json
import shutil
import unicodedata
from collections.abc import Sequence

import pytest
from tests.stages.data_set import DataSet, jpeg

from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.ingest import ingest
from skinlesion.stages.organize import organize
from skinlesion.stages.resize import resize
from skinlesion.stages.sentences import sentence

GROUND_TRUTH = ("image", "MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")


def add_table(few: DataSet, name: str, *rows: Sequence[object]) -> None:
    """Write a table into labels/; its first row is the header."""
    folder = layout.labels(few.folder)
    folder.mkdir(exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def one_hot(image: str, code: str) -> list[object]:
    return [image, *(int(code == name) for name in GROUND_TRUTH[1:])]


def test_tables_in_labels_do_without_diagnoses_csv(few: DataSet) -> None:
    rows = few.rows()
    few.labels.unlink()
    add_table(
        few,
        "metadata.csv",
        ("image", "age_approx", "lesion_id"),
        *([row["image"], 50, row["lesion_id"]] for row in rows),
    )
    add_table(few, "truth.csv", GROUND_TRUTH, *(one_hot(row["image"], "MEL") for row in rows))
    report = ingest(few.config())
    catalog = few.catalog()
    assert set(catalog["dx"]) == {"mel"}
    assert set(catalog["age"]) == {50}
    assert catalog["lesion_id"].to_dict() == {row["image"]: row["lesion_id"] for row in rows}
    assert (report.seen, report.refused) == (6, 0)
    assert report.details["layouts"] == {"metadata.csv": "metadata", "truth.csv": "isic-2019"}


def test_neither_diagnoses_csv_nor_a_table_in_labels_is_one_clear_error(few: DataSet) -> None:
    few.labels.unlink()
    layout.labels(few.folder).mkdir()
    (layout.labels(few.folder) / "LICENSE.txt").write_text("no table")
    with pytest.raises(DataError, match=r"diagnoses\.csv is missing: expected .* or tables .*labels\."):
        ingest(few.config())


def test_a_table_in_labels_says_more_and_its_other_images_are_not_missed(few: DataSet) -> None:
    one, two, *_ = (row["image"] for row in few.rows())
    few.relabel({one, two}, dx="akiec")
    add_table(few, "truth.csv", GROUND_TRUTH, one_hot(one, "SCC"), one_hot(two, "AK"), one_hot("elsewhere", "NV"))
    report = ingest(few.config())
    assert few.of_image(one, "dx", "label") == ["scc", "malignant"]
    assert few.of_image(two, "dx", "label") == ["ak", "unknown"]
    assert "elsewhere" not in few.column("dx")
    assert (report.seen, report.refused) == (6, 0)
    shutil.rmtree(layout.labels(few.folder))
    ingest(few.config())
    assert few.of_image(one, "dx", "label") == ["akiec", "unknown"]


def test_tables_that_give_an_image_two_classes_refuse_it_and_say_so(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    add_table(few, "truth.csv", GROUND_TRUTH, one_hot(image, "MEL"))
    report = ingest(few.config())
    said = "different diagnoses: diagnoses.csv row 2 'nv', truth.csv row 2 'mel'"
    assert few.refusals() == {image: f"the tables give it {said}"}
    assert report.details["conflicts"] == {"diagnoses": 1}
    assert report.details["first_conflicts"] == [f"'{image}' has {said}; refused"]


def test_every_diagnosis_that_is_not_recognised_is_counted(few: DataSet) -> None:
    images = [row["image"] for row in few.rows()]
    few.relabel(set(images[:3]), dx="Zebra")
    few.relabel({images[3]}, dx="lion")
    few.relabel({images[4]}, dx="Lentigo NOS")
    details = ingest(few.config()).details
    assert details["unrecognised_dx"] == {"zebra": 3, "lion": 1}
    assert few.of_image(images[4], "dx", "label") == ["lentigo nos", "benign"]


def test_the_class_of_actinic_keratosis_changes_with_its_setting_and_no_file_is_read_again(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="ak")
    for setting, label in (("indeterminate", "unknown"), ("malignant", "malignant")):
        ingest(few.config(actinic_keratosis=setting))
        assert few.column("label")[image] == label
    assert ingest(few.config()).done == 0
    resize(few.config())
    organize(few.config())
    assert list((layout.output(few.folder) / "unknown").glob(f"{image}*"))


# --- Smaller copies -----------------------------------------------------------------------------------------------


def test_a_smaller_copy_or_its_original_finds_its_row(few: DataSet) -> None:
    for seed, (in_table, on_disk) in enumerate((("A_downsampled", "A"), ("B", "B_downsampled"), ("C", "C"))):
        few.put(f"{on_disk}.jpg", jpeg(seed))
        few.add_row(in_table, dx="mel")
    ingest(few.config())
    assert few.refusals() == {}
    assert few.column("dx").items() >= dict.fromkeys(("A", "B_downsampled", "C"), "mel").items()


def test_a_smaller_copy_and_its_original_are_one_group_and_a_later_one_takes_its_side(few: DataSet) -> None:
    few.put("S_downsampled.jpg", jpeg(1))
    few.add_row("S_downsampled", dx="mel")
    ingest(few.config())
    side = few.column("split")["S_downsampled"]
    few.put("S.jpg", jpeg(2))
    ingest(few.config())
    assert few.refusals() == {}
    assert few.of_image("S", "dx", "group", "split") == ["mel", "image:S", side]
    assert few.of_image("S_downsampled", "group", "split") == ["image:S", side]


def test_the_original_that_takes_the_place_of_a_smaller_copy_keeps_its_side(few: DataSet) -> None:
    names = [f"S{number}" for number in range(12)]
    few.write_rows([*few.rows(), *({"image": f"{name}_downsampled", "dx": "mel"} for name in names)])
    for number, name in enumerate(names):
        few.put(f"{name}_downsampled.jpg", jpeg(number))
    ingest(few.config())
    before = {name: few.column("split")[f"{name}_downsampled"] for name in names}
    replaced = {next(name for name in names if before[name] == side): side for side in (TRAIN, HELD_OUT)}
    for seed, name in enumerate(replaced, start=99):
        few.original(f"{name}_downsampled.jpg").unlink()
        few.put(f"{name}.jpg", jpeg(seed))
    ingest(few.config())
    assert few.column("split").items() >= replaced.items()


def test_a_word_for_a_missing_patient_splits_the_images_and_is_named(dataset: DataSet) -> None:
    dataset.write_rows([row | {"lesion_id": "-9", "patient_id": "#N/A"} for row in dataset.rows()])
    report = ingest(dataset.config(min_images_checked=10))
    assert dataset.catalog()["group"].nunique() == 18
    assert "diagnoses.csv: lesion_id '-9' in 18 rows counts as not known." in sentence(report)


def test_a_word_that_may_be_malignant_stops_ingest_until_the_user_says_what_it_is(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="Melanoma excluded")
    with pytest.raises(DataError, match=r"'melanoma excluded' \(1\).*They are: .*labels/vocabulary\.csv"):
        ingest(few.config())
    add_table(few, "vocabulary.csv", ("word", "dx"), ("melanoma excluded", "benign"))
    report = ingest(few.config())
    assert few.of_image(image, "dx", "label") == ["benign", "benign"]
    assert "not known" not in sentence(report)


def test_names_that_differ_little_find_their_files_and_the_report_says_so(few: DataSet) -> None:
    rows = few.rows()
    few.write_rows([row | {"image": row["image"].swapcase()} for row in rows])
    report = ingest(few.config())
    assert (report.refused, report.details["accepted"]) == (0, len(rows))
    assert set(few.column("file").values()) == {f"{row['image']}.jpg" for row in rows}
    written = json.loads(layout.data_report(few.folder).with_suffix(".json").read_text())
    assert f"{len(rows)} images have another name in the tables than in images/" in written["notes"][0]
    assert "How the labels were read" in layout.data_report(few.folder).read_text()


def test_a_file_from_a_mac_is_the_image_of_a_table_from_windows(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.put(unicodedata.normalize("NFD", "läsion.jpg"), few.original(f"{image}.jpg").read_bytes())
    few.original(f"{image}.jpg").unlink()
    few.write_rows([row | {"image": row["image"].replace(image, "läsion")} for row in few.rows()])
    assert ingest(few.config()).refused == 0
    assert few.of_image("läsion", "file") == [unicodedata.normalize("NFD", "läsion.jpg")]


def test_where_no_name_fits_one_of_each_side_is_shown(few: DataSet) -> None:
    few.write_rows([row | {"image": f"picture_{number}"} for number, row in enumerate(few.rows())])
    with pytest.raises(DataError, match=r"6 rows have no file, such as 'picture_0'; 6 files have no row, such as 'I"):
        ingest(few.config())
