"""Reading columns of a workbook of Excel (.xlsx) as text, in bounded memory."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import pandas as pd

from skinlesion.data.labels.csv_file import ROWS_ABOVE, IsHeader, cells_of, chosen, column_name
from skinlesion.foundation.errors import DataError

LARGEST_WORKBOOK: Final = 32 * 1024**2
"""Bytes of all parts of a workbook when unpacked. The table of ISIC 2019 has 12 million."""

_MOST_ROWS: Final = 300_000
_MOST_COLUMNS: Final = 1_000
_SAVE: Final = "Save the table as CSV in UTF-8."


def read_xlsx(
    path: Path, file: BinaryIO, choose: Callable[[list[str]], Iterable[str]], is_header: IsHeader
) -> pd.DataFrame:
    """Return columns of the sheet that has a header, else of the first, as text, and `row`, as `read_csv` does.

    is_header: as for `read_csv`.

    Raises DataError when the file is no workbook, or would take more than `LARGEST_WORKBOOK` when it is unpacked. Nothing is
    unpacked before that is known.
    """
    try:
        with zipfile.ZipFile(file) as parts:
            _require_bounded(path, parts)
        from openpyxl import load_workbook

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of extensions, which do not change values
            book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
            try:
                return _cells(path, book.worksheets, choose, is_header)
            finally:
                book.close()
    except (DataError, MemoryError):
        raise
    except Exception as error:  # openpyxl raises what the damage happens to meet
        reason = f"{type(error).__name__}: {error}"[:200]
        raise DataError(f"{path} is not a workbook that can be read ({reason}). {_SAVE}") from None


def _require_bounded(path: Path, parts: zipfile.ZipFile) -> None:
    size = sum(part.file_size for part in parts.infolist())
    if size > LARGEST_WORKBOOK:
        raise DataError(
            f"{path} takes {size:,} bytes when it is unpacked; at most {LARGEST_WORKBOOK:,} are read of a workbook. {_SAVE}"
        )
    for part in parts.infolist():
        with parts.open(part) as content:  # a header may lie about the size
            left = part.file_size + 1
            while left > 0 and (block := content.read(min(left, 1 << 20))):
                left -= len(block)
        if left <= 0:
            raise DataError(f"{path} is damaged: {part.filename[:80]!r} is larger than it says. {_SAVE}")


def _cells(
    path: Path, sheets: Sequence[Any], choose: Callable[[list[str]], Iterable[str]], is_header: IsHeader
) -> pd.DataFrame:
    names: list[list[str]] = []
    at = sheet = None
    for one in sheets:
        one.reset_dimensions()  # it may claim a million columns
        first = [[column_name(cell) for cell in row] for row in islice(_rows(path, one), ROWS_ABOVE)]
        found = next((number for number, row in enumerate(first) if is_header(row)), None)
        if found is not None and sheet is not None:
            raise DataError(
                f"{path} has tables of images in the sheets {sheet.title[:80]!r} and {one.title[:80]!r}; expected one table a "
                "file. Save each as its own CSV in UTF-8."
            )
        if found is not None:
            names, at, sheet = first, found, one
        elif one is sheets[0]:
            names = first
    if sheet is None:
        sheet, at = sheets[0], next((number for number, row in enumerate(names) if any(row)), None)
    if at is None:
        raise DataError(
            f"{path} is empty: expected a header with image and dx, then one row an image, in the first sheet."
        )
    header = names[at]
    width = len(header)
    records = (row + [""] * (width - len(row)) if row else row for row in islice(_rows(path, sheet), at + 1, None))
    return cells_of(path, records, width, chosen(path, header, choose), first=at + 2)


def _rows(path: Path, sheet: Any) -> Iterator[list[str]]:
    """Yield the rows as text, empty ones as empty lists. Raises DataError when there are too many rows or columns."""
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        if number > _MOST_ROWS or len(row) > _MOST_COLUMNS:
            raise DataError(
                f"{path} has more than {_MOST_ROWS:,} rows or {_MOST_COLUMNS:,} columns in a sheet. {_SAVE}"
            )
        texts = [_text(value) for value in row]
        yield texts if any(texts) else []


def _text(value: object) -> str:
    """Return a cell as CSV would have it: whole numbers without decimals, and truth as 1 or 0."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
