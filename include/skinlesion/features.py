"""The store of the frozen part's activations: float16, one row for each file content, in parts that never change."""

from __future__ import annotations

import hashlib
import io
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion import atomic
from skinlesion.bucket_table import empty, read_table, write_table

log = logging.getLogger(__name__)

Activations = npt.NDArray[np.float16]

INDEX_COLUMNS: Final = {
    "sha256": "str",
    "row": "int32",
    "part_crc32": "int64",
    "part_size": "int64",
    "part_mtime_ns": "int64",
}
"""Of a part's index: which file content (`sha256`) lies in which row, and how the part's file was when it was written."""

ROWS_IN_A_PART: Final = 1024
"""About 39 MB of block_12_add's activations: what a killed run loses, and what is held in memory while writing."""


@dataclass(frozen=True)
class StoredActivations:
    """Rows of the store, in the order asked for; reads through the page cache, not into memory.

    parts: memory-mapped arrays (rows, ...) float16; part and row: int64 (n,), where each wanted row lies.
    """

    parts: Sequence[Activations]
    part: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return tuple(self.parts[0].shape[1:])

    def take(self, positions: npt.NDArray[np.int64]) -> Activations:
        """Give the rows at these positions, float16 (len(positions), ...)."""
        result = np.empty((len(positions), *self.shape), dtype=np.float16)
        of_part, of_row = self.part[positions], self.row[positions]
        for part in np.unique(of_part):
            here = np.flatnonzero(of_part == part)
            result[here] = self.parts[part][of_row[here]]
        return result

    def subset(self, positions: npt.NDArray[np.int64]) -> StoredActivations:
        """Give a view of some rows."""
        return StoredActivations(self.parts, self.part[positions], self.row[positions])


class FeatureStore:
    """Activations under features/<key>/: part-<hash>.npy and part-<hash>.parquet, its index.

    A part's name is the hash of the contents it holds, so the same work gives the same name; the index is written after
    the part. A part that is no longer what its index says is removed, and its rows are missing again.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        atomic.remove_partials(folder)

    def index(self) -> pd.DataFrame:
        """Give what is stored: columns sha256, part (file name), row; each content once, parts in order of name."""
        tables = [empty(INDEX_COLUMNS).assign(part=pd.Series(dtype="str"))]
        for path in sorted(self.folder.glob("part-*.parquet")):
            table = self._checked(path)
            if table is not None:
                tables.append(table.assign(part=path.with_suffix(".npy").name))
        return pd.concat(tables, ignore_index=True).drop_duplicates("sha256", ignore_index=True)

    def add(self, contents: Sequence[str], activations: Activations) -> None:
        """Store rows: activations float16 (len(contents), ...), contents the sha256 of the files they come from."""
        name = hashlib.sha256("".join(contents).encode()).hexdigest()[:16]
        path = self.folder / f"part-{name}.npy"
        buffer = io.BytesIO()
        np.save(buffer, activations)
        content = buffer.getvalue()
        atomic.write_bytes(path, content)
        stat = path.stat()
        index = pd.DataFrame(
            {
                "sha256": list(contents),
                "row": np.arange(len(contents)),
                "part_crc32": zlib.crc32(content),
                "part_size": stat.st_size,
                "part_mtime_ns": stat.st_mtime_ns,
            }
        )
        write_table(path.with_suffix(".parquet"), index, INDEX_COLUMNS)

    def open(self, contents: Sequence[str]) -> StoredActivations:
        """Give the activations of these file contents, in this order. Raises KeyError when one is not stored."""
        index = self.index().set_index("sha256")
        missing = sorted(set(contents) - set(index.index))
        if missing:
            raise KeyError(f"{len(missing)} of {len(contents)} files have no stored activations; run embed")
        rows = index.loc[list(contents)]
        names, part = np.unique(rows["part"].to_numpy(dtype=str), return_inverse=True)
        parts = [np.load(self.folder / name, mmap_mode="r") for name in names]
        return StoredActivations(parts, part.astype(np.int64), rows["row"].to_numpy(dtype=np.int64))

    def remove_unused(self, contents: set[str]) -> int:
        """Remove the parts none of whose rows is among these contents; give their number."""
        removed = 0
        for part, rows in self.index().groupby("part"):
            if contents.isdisjoint(rows["sha256"]):
                self._remove((self.folder / str(part)).with_suffix(".parquet"))
                removed += 1
        return removed

    def _checked(self, index_path: Path) -> pd.DataFrame | None:
        part = index_path.with_suffix(".npy")
        try:
            table = read_table(index_path, INDEX_COLUMNS)
            stat = part.stat()
            expected = table.iloc[0]
            touched = (stat.st_size, stat.st_mtime_ns) != (expected["part_size"], expected["part_mtime_ns"])
            if touched and zlib.crc32(part.read_bytes()) != expected["part_crc32"]:
                raise ValueError("its checksum is another")
        except (OSError, ValueError, IndexError, KeyError, pa.ArrowException) as error:
            log.warning("%s is damaged (%s); its rows are computed again", part, error)
            self._remove(index_path)
            return None
        return table

    def _remove(self, index_path: Path) -> None:
        index_path.unlink(missing_ok=True)
        index_path.with_suffix(".npy").unlink(missing_ok=True)
