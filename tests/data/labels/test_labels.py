from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.labels.tables import Join, values

from skinlesion.data.labels.join import join_tables
from skinlesion.foundation.errors import DataError


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"diagnoses\.csv is missing\. Expected a table with the columns image and dx"):
        join_tables([tmp_path / "diagnoses.csv"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is empty: expected a header with image and dx"),
        (" \n\n", r"is empty"),
        (b"\xef\xbb\xbf\n", r"is empty|lacks the columns image, dx"),
        ("image,dx\n", r"has a header but no rows"),
        ("image,dx\n\n\n", r"has a header but no rows"),
        ("dx,age\nnv,3\n", r"lacks the column image; expected image and dx, found: dx, age"),
        ("image,age\nA,3\n", r"lacks the column dx;"),
        ("A,nv\nB,mel\n", r"lacks the columns image, dx; .* found: a, nv"),
        ("image,dx,DX\nA,nv,nv\n", r"has the column dx more than once"),
        (b"image,dx\nA,nv\nB,\xe9\n", r"line 3: not UTF-8 text. Save"),
        ("image,dx\nA,nv\n".encode("utf-16"), r"not UTF-8 text"),
        ("image,dx\nA,nv\nB\nC,nv,extra\n", r"2 rows have another number of fields than the header's 2: rows 3, 4"),
        ('image,dx\nA,"nv\n', r"is not a CSV table: unexpected end of data"),
        ("image,dx\nA,nv\nA,\nA,mel\n", r"gives 1 image two diagnoses; .*row 2: 'A' 'nv'; row 4: 'A' 'mel'\. Remove"),
        ("image,dx,lesion_id\nA,nv,1\nA,nv,2\n", r"gives 1 image two lesions; .*row 2: 'A' '1'; row 3: 'A' '2'"),
        ("image,dx,patient_id\nA,nv,1\nA,nv,2\n", r"gives 1 image two patients; .*row 2: 'A' '1'; row 3: 'A' '2'"),
        ("image,dx\nA.jpg,nv\nA,mel\n", r"gives 1 image two diagnoses"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_clear_error(join: Join, content: bytes | str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        join(content)


def test_many_wrong_rows_are_listed_up_to_ten_and_counted(join: Join) -> None:
    rows = "".join(f"I{number},nv\nI{number},mel\n" for number in range(10, 20))
    with pytest.raises(DataError, match=r"gives 10 images two diagnoses.*row 11: 'I14' 'mel' and 10 more rows"):
        join("image,dx\n" + rows)


READ: dict[str, tuple[str, str, list[list[object]]]] = {
    "columns in any order and case, and others": (
        "Age_Approx, DX ,colour,IMAGE,anatom_site_general\n55,Mel,red, A ,back\n",
        "image dx age site lesion_id row",
        [["A", "mel", 55.0, "back", "", 2]],
    ),
    "a row that repeats another": (
        "image,dx,lesion_id\nA,nv,1\nA, NV ,1\nB,mel,2\nA.JPG,nv,1\n",
        "image dx row",
        [["A", "nv", 2], ["B", "mel", 4]],
    ),
    "names with suffixes": (
        "image,dx\nA.jpg,nv\nB.JPG,nv\nC.jpeg,nv\nD.png,nv\nE.tiff,nv\n F ,nv\n",
        "image",
        [[name] for name in "ABCDEF"],
    ),
    "a byte order mark, lines of Windows, quotes and empty lines": (
        '\ufeffimage,dx,site\r\nA,nv,"back, upper"\r\n\r\nB,mel,\r\n',
        "image site row",
        [["A", "back, upper", 2], ["B", "", 4]],
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_a_table_is_read_as_it_is_meant(join: Join, kind: str) -> None:
    content, columns, expected = READ[kind]
    assert values(join(content), *columns.split()) == expected


def test_an_age_that_means_nothing_is_not_known(join: Join) -> None:
    ages = {"55": 55, "55.0": 55, "": -1, "old": -1, "-1": -1, "131": -1}
    rows = join("image,dx,age\n" + "".join(f"I{number},nv,{age}\n" for number, age in enumerate(ages))).rows
    assert rows["age"].fillna(-1).tolist() == list(ages.values())


def test_a_name_that_cannot_be_a_files_is_refused_and_kept(join: Join) -> None:
    reasons = {
        "": "the row has no image name",
        ".jpg": "the row has no image name",
        "../a": "path separator",
        ".a/b": "path separator",
        "a/": "path separator",
        "sub/../a": "path separator",
        ".a\\b": "path separator",
        "..": "leading dot",
        ".a": "leading dot",
        "a\0b": "control character",
        "a\x1bb": "control character",
        "a" * 201: "201 bytes",
        "é" * 101: "202 bytes",
        "a__aug7": "augmented copy",
    }
    rows = join("image,dx\nA,nv\n" + "".join(f"{image},nv\n" for image in reasons)).rows
    assert rows["image"].tolist() == ["A", "(row 3)", "(row 4)", *list(reasons)[2:]]
    for reason, refused in zip(["", *reasons.values()], rows["refused"], strict=True):
        assert reason in refused
        assert (reason == "") == (refused == "")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("labels") / "diagnoses.csv"
    path.write_bytes(b"image,dx\n" + content)
    try:
        labels = join_tables([path]).rows
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert labels["image"].is_unique
        assert len(labels) > 0
