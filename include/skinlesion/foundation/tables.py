"""Parquet tables, whole or in buckets, that are replaced atomically and only when their content changed."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skinlesion.foundation import atomic
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

    notes: text by name that the file keeps beside the table (Parquet's key-value metadata, which has no checksum).
    """
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
    """Return a table that `write_table` wrote. Raises OSError or pyarrow.ArrowException when it cannot be read."""
    return _as_pandas([_read(path, columns)], columns)


def read_notes(path: Path) -> dict[str, str]:
    """Return the notes that `write_table` wrote. Raises OSError or pyarrow.ArrowException when the file cannot be read."""
    found = pq.read_metadata(path).metadata or {}
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, value in found.items()}


def _read(path: Path, columns: Columns) -> pa.Table:
    table = pq.read_table(path, columns=list(columns), partitioning=None, page_checksum_verification=True)
    if table.column_names != list(columns):
        raise pa.ArrowInvalid(f"{path} has the columns {table.column_names}; expected {list(columns)}")
    return table


def _as_pandas(parts: list[pa.Table], columns: Columns) -> pd.DataFrame:
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
            if not path.exists():
                continue
            try:
                parts.append(_read(path, self.columns))
            except (pa.ArrowException, OSError) as error:
                log.warning("Cannot read %s (%s); what it recorded is done again", path, error)
        return _as_pandas(parts, self.columns) if parts else empty(self.columns)

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
            existed = path.exists()
            path.unlink(missing_ok=True)
            return existed
        return write_table(path, rows, self.columns)
