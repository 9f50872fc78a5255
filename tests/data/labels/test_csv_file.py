"""A CSV file is read as it was written, or one error says what is wrong, and no file can take the memory."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinlesion.data.labels import csv_file
from skinlesion.data.labels.csv_file import read_csv
from skinlesion.foundation.errors import DataError

Outcome = pd.DataFrame | str


def read(path: Path, content: bytes | str) -> pd.DataFrame:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_csv(path, lambda header: list(dict.fromkeys(header)))


def outcome(path: Path, content: bytes | str) -> Outcome:
    try:
        return read(path, content)
    except DataError as error:
        return str(error)


FIELDS = st.text(st.sampled_from('ab ,;"\n\r\t\u00e9\ufeff\0.1'), max_size=4)


@settings(deadline=None)
@given(st.lists(st.lists(FIELDS, min_size=2, max_size=2), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_any_table_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], quoted: bool, windows: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    text = io.StringIO(newline="")
    quoting: Literal[0, 1] = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(text, lineterminator="\r\n" if windows else "\n", quoting=quoting)
    writer.writerow(["image", "dx"])
    writer.writerows(rows)
    read_back = outcome(path, text.getvalue())
    # The writer leaves a lone carriage return without quotes, where it ends a line.
    if quoted or "\r" not in "".join(map("".join, rows)):
        assert isinstance(read_back, pd.DataFrame)
        assert read_back[["image", "dx"]].to_numpy().tolist() == rows


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text('a,"\n\r', max_size=30).map(str.encode))
def test_any_bytes_are_a_table_or_one_error_that_names_the_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    found = outcome(path, b"image,dx\n" + content)
    assert str(path) in found if isinstance(found, str) else list(found) == ["image", "dx", "row"]


def test_a_large_table_is_read_in_parts_and_rows_keep_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_file, "_ROWS_AT_A_TIME", 7)
    rows = "".join(f'"I{number}","n,v"\n' + "\n" * (number % 3 == 0) for number in range(50))
    table = read(tmp_path / "table.csv", "image,dx\n" + rows)
    assert table["image"].tolist() == [f"I{number}" for number in range(50)]
    assert table["row"].tolist()[:5] == [2, 4, 5, 6, 8]


def test_ragged_rows_are_counted_over_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_file, "_ROWS_AT_A_TIME", 7)
    rows = "A,nv\n" * 10 + "A\n" * 15 + "A,nv\n"
    with pytest.raises(DataError, match=r"15 rows have another number .*: rows 12, 13, .*, 21\. Quote"):
        read(tmp_path / "table.csv", "image,dx\n" + rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"image,dx\n" + b"x" * 3_000_000, r"line 2: longer than 1,048,576 characters", id="long line"),
        pytest.param(b"x" * 3_000_000, r"line 1: longer than", id="no line"),
        pytest.param(b'image,dx\nA,"' + b"x" * 200_000 + b'"\n', r"field larger than field limit", id="long field"),
        pytest.param(b"image,dx\nA," + b"x" * 200_000 + b"\n", r"field larger than field limit", id="long bare field"),
        pytest.param(b'image,dx\nA,"n"v\n', r"not a CSV table: .* \(line 2\)", id="quote inside"),
        pytest.param(b'image,dx\n"A,"n",v\n', r"not a CSV table: .* \(line 2\)", id="quotes not in pairs"),
        pytest.param(b"image;dx\nA;nv;mel\n", r"1 row has another number of fields .* rows 2", id="semicolons"),
    ],
)
def test_what_is_no_table_is_one_clear_error_that_says_where(
    tmp_path: Path, content: bytes | str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path / "table.csv", content)


def test_a_line_that_is_not_utf_8_is_named_far_into_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 100002: not UTF-8 text"):
        read(tmp_path / "table.csv", b"image,dx\n" + "\u00e9,nv\n".encode() * 100_000 + b"\xe9,nv\n")
