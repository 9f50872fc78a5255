"""Reading columns of a CSV file as text, in bounded memory, with an error that names the line that is wrong."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import open_file, reason_of
from skinlesion.foundation.wording import counted

LARGEST_TABLE: Final = 2 * 1024**3
"""Bytes; ten times the metadata of the whole ISIC Archive."""

ROWS_ABOVE: Final = 40
"""Rows within which the header is looked for; PH2's workbook has twelve of explanations above it."""

IsHeader = Callable[[list[str]], bool]

ROWS_LISTED: Final = 10
"""Number of rows that an error names; the rest is counted."""

_LONGEST_LINE: Final = 1 << 20  # characters; the longest in the ISIC Archive's metadata have about a thousand
_ROWS_AT_A_TIME: Final = 1 << 10  # with more, Python's collector of garbage looks at them again and again
_SEPARATORS: Final = (",", "\t", ";")
_EXPECTED: Final = "expected a header with image and dx, then one row an image"


def no_header(names: list[str]) -> bool:
    """Return False: the first row is the header, whatever its names."""
    return False


def read_csv(path: Path, choose: Callable[[list[str]], Iterable[str]], is_header: IsHeader = no_header) -> pd.DataFrame:
    """Return columns of a file as text, and `row`, the record's number in the file (the header is 1).

    `choose` picks the columns from those of the header, whose names are as `column_name` returns them. Fields are separated by
    commas, tabs or semicolons: by the one that the header has most of, or that a first line `sep=;` names, as Excel writes
    it. Empty lines are skipped. is_header: whether a row of the names of columns is the header, which may stand below a few
    lines of explanations; where none of `ROWS_ABOVE` is, the first row is.

    Raises DataError when the file is missing, empty, not UTF-8, not a table, has rows of another number of fields, has no
    rows, or has a chosen column twice. Errors of `choose` pass through.
    """
    with opened(path) as file, io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text:
        before = os.fstat(file.fileno())
        try:
            header, separator, skipped = _read_header(path, text, is_header)
            columns = chosen(path, header, choose)
            records = islice(_records(path, text, separator), 1 + skipped, None)
            cells = cells_of(path, records, len(header), columns, first=2 + skipped)
        except UnicodeDecodeError:
            line = _undecodable_line(file)
            raise DataError(f"{path}, line {line}: not UTF-8 text. Save the table as CSV in UTF-8.") from None
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(
            errno.EAGAIN, "The table changed while it was being read; try again when it is complete", str(path)
        )
    return cells


def opened(path: Path) -> io.BufferedReader:
    """Return the open file of a table. Raises DataError when it cannot be read, or is no regular file."""
    try:
        return io.BufferedReader(open_file(path, most=LARGEST_TABLE))
    except OSError as error:
        what = f"cannot be used: {reason_of(error)}" if os.path.lexists(path) else "is missing"
    raise DataError(
        f"{path} {what}. Expected a table with the columns image and dx, one row an image (`image` is the file's name without "
        "its suffix)."
    )


def chosen(path: Path, header: list[str], choose: Callable[[list[str]], Iterable[str]]) -> dict[str, int]:
    """Return the position of each column that is chosen. Raises DataError when one of them is there twice."""
    columns = {name: header.index(name) for name in choose(header)}
    if repeated := sorted(name for name in columns if header.count(name) > 1):
        raise DataError(f"{path} has the column {', '.join(repeated)} more than once; expected each once.")
    return columns


def column_name(written: str) -> str:
    """Return a column's name in lower case, with single underscores for blanks and hyphens: `Image Name` is `image_name`.

    The archive's earlier exports have `meta.clinical.` before a name.
    """
    return re.sub(r"[\s\-]+", "_", written.strip().lower()).removeprefix("meta.clinical.")


def _read_header(path: Path, text: TextIO, is_header: IsHeader) -> tuple[list[str], str, int]:
    """Return the names of the columns, the separator, and the number of lines before the header."""
    if not any(line.strip() for line in _lines(path, text)):
        raise DataError(f"{path} is empty: {_EXPECTED}.")
    first = next(_lines(path, text))
    named = re.fullmatch(r'"?sep=(.)"?\s*', first)
    if named and named[1] in _SEPARATORS:
        records = islice(_records(path, text, named[1]), 1, None)
        return [column_name(name) for name in next(records, [])], named[1], 1
    separator = _separator(first)
    header = [column_name(name) for name in next(_records(path, text, separator))]
    if not is_header(header):
        for number, line in enumerate(islice(_lines(path, text), ROWS_ABOVE)):
            names = [column_name(name) for name in line.rstrip("\r\n").split(_separator(line))]
            if is_header([name.strip('"') for name in names]):
                records = islice(_records(path, text, _separator(line)), number, None)
                return [column_name(name) for name in next(records)], _separator(line), number
    return header, separator, 0


def _separator(line: str) -> str:
    return max(_SEPARATORS, key=line.count)


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    """Yield the lines of the file from its start; none is longer than `_LONGEST_LINE`, so that memory is bounded."""
    text.seek(0)
    for number, line in enumerate(iter(lambda: text.readline(_LONGEST_LINE), ""), start=1):
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}, line {number}: longer than {_LONGEST_LINE:,} characters. Expected CSV, one row an image."
            )
        yield line


def _records(path: Path, text: TextIO, separator: str) -> Iterator[list[str]]:
    reader = csv.reader(_lines(path, text), strict=True, delimiter=separator)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path} is not a CSV table: {error} (line {reader.line_num}). Expected commas, and quotes in pairs."
            ) from None
        yield row


def cells_of(path: Path, records: Iterator[list[str]], width: int, columns: dict[str, int], first: int) -> pd.DataFrame:
    """Return columns of records as text, and `row`. first: the number of the first record in the file.

    Empty records are left out, and so are empty fields beyond the header's, which spreadsheets write.
    """
    parts: dict[str, list[pa.Array]] = {name: [] for name in columns}
    numbers: list[int] = []
    ragged: list[int] = []
    ragged_rows = 0
    while chunk := list(islice(records, _ROWS_AT_A_TIME)):
        for row in chunk:
            while len(row) > width and not row[-1].strip():
                row.pop()
        kept = [number for number, row in enumerate(chunk, start=first) if row]
        wrong = [number for number in kept if len(chunk[number - first]) != width]
        ragged_rows += len(wrong)
        ragged += wrong[: ROWS_LISTED - len(ragged)]
        if not ragged_rows:
            numbers += kept
            fields = list(zip(*(row for row in chunk if row), strict=True)) or [()] * width
            for name, position in columns.items():
                parts[name].append(pa.array(fields[position], pa.string()))
        first += len(chunk)
    if ragged_rows:
        raise DataError(
            f"{path}: {counted(ragged_rows, 'row has', 'rows have')} another number of fields than the header's {width}: "
            f"rows {', '.join(map(str, ragged))}. Quote fields that hold a comma."
        )
    table = pa.table({name: pa.chunked_array(arrays, pa.string()) for name, arrays in parts.items()})
    cells: pd.DataFrame = table.to_pandas()
    return cells.astype("str").assign(row=np.array(numbers, dtype=np.int64))


def _undecodable_line(file: BinaryIO) -> int:
    file.seek(0)
    number = 1
    for part in iter(lambda: file.readline(_LONGEST_LINE), b""):
        try:
            part.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            break
        number += part.endswith(b"\n")
    return number
