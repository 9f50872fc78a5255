"""A file of labels as columns of text, whatever its format; the format is known by the content, not by the suffix."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.labels.csv_file import IsHeader, no_header, opened, read_csv
from skinlesion.data.labels.xlsx_file import read_xlsx
from skinlesion.foundation.errors import DataError

SUFFIXES: Final = (".csv", ".tsv", ".tab", ".xlsx", ".xlsm")
"""The suffixes of files in labels/ that are read as tables."""

_ZIP: Final = b"PK\x03\x04"
_OLD_EXCEL: Final = b"\xd0\xcf\x11\xe0"


def read_cells(
    path: Path, choose: Callable[[list[str]], Iterable[str]], is_header: IsHeader = no_header
) -> pd.DataFrame:
    """Return columns of a table as text, and `row`, the number of each row in the file (the header is 1).

    `choose` picks the columns from those of the header (see `column_name`). Rows in which all of them are blank are left out.
    is_header: as for `read_csv`.

    Raises DataError as `read_csv` and `read_xlsx` do, and when no row is left.
    """
    with opened(path) as file:
        start = file.read(4)
        file.seek(0)
        cells = read_xlsx(path, file, choose, is_header) if start == _ZIP else None
    if start == _OLD_EXCEL:
        raise DataError(
            f"{path} is a workbook of Excel before 2007, or a protected one. Save it as .xlsx, or as CSV in UTF-8."
        )
    if cells is None:
        cells = read_csv(path, choose, is_header)
    blank = pd.concat([cells[name].str.strip() == "" for name in cells if name != "row"], axis=1).all(axis=1)
    cells = cells[~blank].reset_index(drop=True)
    if cells.empty:
        raise DataError(f"{path} has a header but no rows: expected one row an image.")
    return cells
