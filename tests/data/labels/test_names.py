"""Names of images that tables and files write differently, and rows that repeat an image."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pandas as pd
import pytest
from tests.data.labels.tables import Join, values

from skinlesion.data.labels.of_dataset import rows_of_files


def found(join: Join, tables: list[str], files: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the diagnosis of each row by the name that it has at the end, and the sentences."""
    labels = join(*(f"image,dx\n{''.join(f'{name},nv{chr(10)}' for name in names.split('|'))}" for names in tables))
    rows, notes = rows_of_files(labels.rows, pd.Series(files, dtype="str"))
    return dict(zip(rows["image"], rows["dx"], strict=True)), labels.notes + notes


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_table_in_either_form_of_unicode_has_the_composed_name(join: Join, form: Literal["NFC", "NFD"]) -> None:
    name = unicodedata.normalize(form, "Läsion_é_Å")
    assert values(join(f"image,dx\n{name}.JPG,nv\n"), "image") == [[unicodedata.normalize("NFC", name)]]


@pytest.mark.parametrize(
    ("row", "file"),
    [
        ("isic_0024306", "ISIC_0024306"),
        ("IMG_01.PNG", "img_01"),
        ("24585.0", "0024585"),
        ("24585", "0024585"),
        ("PAT_7_8", "PAT_07_08"),
        ("ÄRM", "ärm"),
    ],
)
def test_a_name_that_differs_little_is_the_file_where_there_is_one_alone(join: Join, row: str, file: str) -> None:
    rows, notes = found(join, [f"{row}|B"], [file, "B"])
    assert rows == {file: "nv", "B": "nv"}
    [note] = notes
    assert note.startswith("1 image has another name in the tables than in images/")
    assert repr(file) in note


@pytest.mark.parametrize(
    ("names", "files"),
    [("a1", ["A1", "a01"]), ("a1|A1", ["a01"]), ("img-1", ["IMG_1"]), ("ISIC_1", ["ISIC_10"]), ("1.5", ["15"])],
)
def test_a_name_is_matched_with_none_of_several_and_an_example_of_each_side_is_shown(
    join: Join, names: str, files: list[str]
) -> None:
    rows, [note] = found(join, [names], files)
    assert set(rows) == set(names.split("|"))
    assert f"such as {names.split('|')[0]!r}" in note
    assert any(f"such as {file!r}" in note for file in files)


def test_names_that_are_equal_are_never_matched_anew(join: Join) -> None:
    rows, notes = found(join, ["a1|A1"], ["a1", "A1"])
    assert (set(rows), notes) == ({"a1", "A1"}, [])


def test_tables_that_write_an_image_differently_are_joined(join: Join) -> None:
    labels = join(
        "image,dx\nISIC_0000001,nv\n0000007,mel\nx,nv\n",
        "image,lesion_id\nisic_0000001,L1\n7.0,L7\ny,L8\n",
        supplements=[2],
    )
    assert values(labels, "image", "dx", "lesion_id")[:2] == [["ISIC_0000001", "nv", "L1"], ["0000007", "mel", "L7"]]
    assert labels.notes[0].startswith(
        "2 images are written differently in two tables, and counted as one: 'ISIC_0000001'"
    )


def test_tables_in_which_two_names_are_alike_are_not_guessed_at(join: Join) -> None:
    labels = join("image,dx\na1,nv\n", "image,lesion_id\nA1,L1\na01,L2\n", supplements=[2])
    assert values(labels, "image", "lesion_id") == [["a1", ""], ["A1", "L1"], ["a01", "L2"]]


@pytest.mark.parametrize("name", ["train/A.jpg", "/kaggle/input/set/A.png", "C:\\Bilder\\A.jpg", "a b/A"])
def test_a_folder_before_a_name_is_left_out(join: Join, name: str) -> None:
    assert values(join(f"image,dx\n{name},nv\n"), "image", "refused") == [["A", ""]]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("A,nv,L1,50\nA,,,\n", ["nv", "L1", 50]),
        ("A,,,\nA,nv,L1,50\n", ["nv", "L1", 50]),
        ("A,nv,,\nA,nv,L1,\nA.jpg,,,50\n", ["nv", "L1", 50]),
        ("A,malignant,L1,50\nA,melanoma,L1,50\n", ["mel", "L1", 50]),
        ("A,akiec,L1,50\nA,scc,L1,50\n", ["scc", "L1", 50]),
        ("A,nv,L1,50\nsub/A.JPG,Nevus,L1,50.0\n", ["nv", "L1", 50]),
    ],
)
def test_rows_of_an_image_that_add_to_each_other_are_one(join: Join, rows: str, expected: list[object]) -> None:
    labels = join("image,dx,lesion_id,age\n" + rows)
    assert values(labels, "dx", "lesion_id", "age") == [expected]
    assert labels.conflict_counts == {}


def test_rows_of_an_image_that_differ_in_what_does_not_decide_are_listed(join: Join) -> None:
    labels = join("image,dx,sex,age\nA,nv,male,50\nA,nv,female,80\n")
    assert labels.conflict_counts == {"sex": 1, "age": 1}
    assert values(labels, "dx", "sex", "refused") == [["nv", "", ""]]
