from __future__ import annotations

import csv

import pytest

from skinlesion.foundation.spreadsheet import cell, csv_text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_formula_becomes_a_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "ISIC_0024306", "a=b", "1-2", "'=1"])
def test_another_text_stays_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_a_table_is_read_back_cell_by_cell() -> None:
    table = csv_text(("image", "why"), [("=A", "a, b"), ('say "x"', "line\nbreak")])
    assert list(csv.reader(table.splitlines(keepends=True))) == [
        ["image", "why"],
        ["'=A", "a, b"],
        ['say "x"', "line\nbreak"],
    ]
