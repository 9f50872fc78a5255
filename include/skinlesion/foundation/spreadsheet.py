"""Tables that people open in a spreadsheet: a text from outside must not become a formula there."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

_STARTS_A_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters of a formula, as OWASP's page on CSV injection lists them."""


def cell(text: str) -> str:
    """Return a text as a cell that a spreadsheet shows and does not compute: a formula gets an apostrophe in front."""
    return f"'{text}" if text.startswith(_STARTS_A_FORMULA) else text


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts from outside as CSV in which no cell is a formula."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(text) for text in row] for row in rows)
    return table.getvalue()
