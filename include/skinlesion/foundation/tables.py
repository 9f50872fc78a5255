"""Parquet tables, whole or in buckets, that are replaced atomically and only when their content changed."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import NotAFile, require_file, set_aside
from skinlesion.foundation.shard import BUCKETS

log = logging.getLogger(__name__)

_ROWS_AT_ONCE: Final = 1000

Columns = Mapping[str, str]
"""The pandas dtype of each column, by its name, in the order of the file."""


def empty(columns: Columns) -> pd.DataFrame:
    """Return a table with these columns and no rows."""
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in columns.items()})


def write_table(path: Path, table: pd.DataFrame, columns: Columns, notes: Mapping[str, str] | None = None) -> bool:
    """Write the columns of a table as Parquet unless the file holds the same; return whether it was written.

    A folder that somebody put in its place is set aside. notes: text by name that the file keeps beside the table (Parquet's
    key-value metadata, which has no checksum).
    """
    if other := set_aside(path):
        log.warning("%s is a folder, and is called %s now: expected a table, which is written anew", path, other.name)
    buffer = io.BytesIO()
    content = pa.Table.from_pandas(table[list(columns)].astype(dict(columns)), preserve_index=False)
    # Without pandas' and Arrow's own descriptions of the schema: they have no checksum, and `columns` has the same.
    content = content.replace_schema_metadata(None)
    options = {"compression": "zstd", "store_schema": False, "write_page_checksum": True}
    with pq.ParquetWriter(buffer, content.schema, **options) as writer:
        writer.write_table(content)
        writer.add_key_value_metadata(dict(notes or {}))
    return atomic.write_if_changed(path, buffer.getvalue())


def read_table(path: Path, columns: Columns) -> pd.DataFrame:
    """Return a table that `write_table` wrote.

    Raises FileNotFoundError, DamagedTable, and other errors of the disk (OSError).
    """
    return joined([read_part(path, columns)], columns)


def read_notes(path: Path) -> dict[str, str]:
    """Return the notes that `write_table` wrote. Raises OSError, DamagedTable among them, when the file cannot be read."""
    try:
        require_file(path)
        found = pq.read_metadata(path).metadata or {}
    except NotAFile as error:
        raise DamagedTable(str(error)) from None
    except (pa.ArrowException, ValueError) as error:
        raise DamagedTable(f"{path} cannot be read ({error})") from None
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in found.items()}


class DamagedTable(OSError):
    """What lies in the place of a table is not what `write_table` wrote; the message says what and where."""


def read_part(path: Path, columns: Columns) -> pa.Table:
    """Return the same as `read_table` in Arrow's form, of which `joined` makes one table."""
    try:
        require_file(path)
        table = pq.read_table(path, columns=list(columns), partitioning=None, page_checksum_verification=True)
    except NotAFile as error:
        raise DamagedTable(str(error)) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise DamagedTable(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None
    if table.column_names != list(columns):
        raise DamagedTable(f"{path} has the columns {table.column_names}; expected {list(columns)}")
    for name, dtype in columns.items():
        column = table[name]
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        is_right = is_text if dtype == "str" else column.type == pa.from_numpy_dtype(np.dtype(dtype))
        if not is_right or (column.null_count and not dtype.startswith("float")):
            raise DamagedTable(
                f"{path} has {column.null_count} blank values of type {column.type} in the column {name}; "
                f"expected values of type {dtype}"
            )
    return table


def joined(parts: list[pa.Table], columns: Columns) -> pd.DataFrame:
    """Return the rows of the parts as one table, which is empty where there is no part."""
    if not parts:
        return empty(columns)
    table: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return table.astype(dict(columns))


class BucketTable:
    """A table of the files that a stage made, in `BUCKETS` parts, so that two shards never write to the same part."""

    def __init__(self, folder: Path, columns: Columns) -> None:
        self.folder = folder
        self.columns = columns

    def path(self, bucket: int) -> Path:
        """Return the path of a bucket."""
        return self.folder / f"{bucket:02d}.parquet"

    def read(self, buckets: Iterable[int] = range(BUCKETS)) -> pd.DataFrame:
        """Return the rows of some buckets. A part that cannot be read counts as empty, so its work is done again."""
        parts = []
        for bucket in buckets:
            path = self.path(bucket)
            try:
                parts.append(read_part(path, self.columns))
            except FileNotFoundError:
                continue
            except OSError as error:
                log.warning("%s; what it recorded is done again", error)
        return joined(parts, self.columns)

    def read_whole(self, stage: str) -> pd.DataFrame:
        """Return all rows, for another stage than the one that writes them. Raises DataError for a part that cannot be read.

        That stage would go on without what the part records, and remove what it made of it.
        """
        parts = []
        for bucket in range(BUCKETS):
            try:
                parts.append(read_part(self.path(bucket), self.columns))
            except FileNotFoundError:
                continue
            except DamagedTable as error:
                raise DataError(f"{error}. Run {stage} again, which writes it anew.") from None
        return joined(parts, self.columns)

    def rows(self, bucket: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a bucket, a few of them in memory at a time; none if the bucket has no file.

        A missing value is None. Raises OSError or pyarrow.ArrowException if the file cannot be read.
        """
        path = self.path(bucket)
        if path.exists():
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(self.columns)):
                    yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def write(self, bucket: int, rows: pd.DataFrame) -> bool:
        """Replace the rows of a bucket; return whether anything changed."""
        path = self.path(bucket)
        if rows.empty:
            existed = os.path.lexists(path)
            if not set_aside(path):
                path.unlink(missing_ok=True)
            return existed
        return write_table(path, rows, self.columns)

    def write_each(self, rows: pd.DataFrame, bucket_of_row: pd.Series, buckets: Iterable[int], by: str) -> None:
        """Replace the rows of some buckets, each sorted by a column. bucket_of_row: where each of all rows belongs."""
        for bucket in sorted(buckets):
            self.write(bucket, rows[bucket_of_row == bucket].sort_values(by, ignore_index=True))
