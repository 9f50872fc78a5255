"""The store of the frozen part's activations: float16, one row for each file content, in parts that never change."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import DatasetBusy, locked
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.regular_file import require_file, set_aside
from skinlesion.foundation.tables import joined, read_part, write_table

log = logging.getLogger(__name__)

Activations = npt.NDArray[np.float16]

INDEX_COLUMNS: Final = {
    "sha256": "str",
    "row": "int32",
    "part_crc32": "int64",
    "part_size": "int64",
    "part_mtime_ns": "int64",
}
"""Columns of a part's index: which file content (`sha256`) is in which row, and the part's state when it was written."""

BYTES_IN_A_PART: Final = 40_000_000
"""About 1,000 rows of block_12_add's activations. A killed run loses at most this, and so much is held in memory."""

MOST_ROWS_IN_A_PART: Final = 4096
"""Limit for small rows, such as pooled vectors: a killed run would otherwise lose much work in few bytes."""

MOST_SMALL_PARTS: Final = 16
"""Each night and shard leaves a part. When more than this number are less than half full, they are merged."""

ABANDONED_AFTER: Final = timedelta(days=30)
"""A store takes 0.4 GB for a thousand images: those of other weights or of another cut are removed after this time."""


def rows_in_a_part(shape: tuple[int, ...]) -> int:
    """Return how many rows of this shape, float16, make a full part."""
    return max(1, min(MOST_ROWS_IN_A_PART, BYTES_IN_A_PART // (2 * int(np.prod(shape)))))


@dataclass(frozen=True)
class _Part:
    """A part's file. Its array, float16 (rows, *shape), begins at byte `offset`."""

    path: Path
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> _Part:
        array = np.load(path, mmap_mode="r")
        return cls(path, array.offset, array.shape[1:])

    def read(self, items: npt.NDArray[np.int64], into: Activations, positions: npt.NDArray[np.int64]) -> None:
        """Read the items with these numbers to these positions of an array. An item has the shape of the array's rows."""
        size = 2 * int(np.prod(into.shape[1:]))
        with self.path.open("rb", buffering=0) as file:
            for item, position in zip(items.tolist(), positions.tolist(), strict=True):
                if os.preadv(file.fileno(), [into[position].data], self.offset + item * size) != size:
                    raise OSError(f"{self.path} is shorter than its index says; run embed again")


@dataclass(frozen=True)
class StoredActivations:
    """Rows of the store in the order in which they were asked for, read from disk when they are taken.

    They are read, not memory-mapped: the pages of a mapping count as memory of the process until the kernel reclaims them,
    and an epoch touches every page.

    Attributes:
        parts: the parts that hold the rows.
        part: int64 (n,), the part that holds each row.
        row: int64 (n,), the number of each row within its part.
    """

    parts: Sequence[_Part]
    part: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row: (orientations, ...)."""
        return self.parts[0].shape

    @property
    def orientations(self) -> int:
        """Number of orientations of each image that are stored."""
        return self.shape[0]

    def take(self, positions: npt.NDArray[np.int64], orientations: npt.NDArray[np.int64]) -> Activations:
        """Return the activations, float16 (len(positions), ...), of these rows, each in its one of the orientations."""
        result = np.empty((len(positions), *self.shape[1:]), dtype=np.float16)
        items = self.row[positions] * self.orientations + orientations
        part_of = self.part[positions]
        for part in np.unique(part_of):
            here = np.flatnonzero(part_of == part)
            self.parts[part].read(items[here], result, here)
        return result


class FeatureStore:
    """Activations under features/<key>/: part-<hash>.npy, and part-<hash>.parquet, its index.

    The name of a part is the hash of the contents that it holds, so the same work results in the same name. The index is
    written after the part. A part that differs from what its index says is removed, and its rows count as missing. The
    modification time of the folder is that of the store's last use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        atomic.remove_partials(folder)

    def index(self) -> pd.DataFrame:
        """Return what is stored: `INDEX_COLUMNS` and part (file name), one row for each content, parts in order of name."""
        parts = []
        for path in sorted(self.folder.glob("part-*.parquet")):
            part = self._checked(path)
            if part is not None:
                parts.append(part.append_column("part", pa.repeat(path.with_suffix(".npy").name, len(part))))
        columns = {**INDEX_COLUMNS, "part": "str"}
        return joined(parts, columns).drop_duplicates("sha256", ignore_index=True)

    def add(self, contents: Sequence[str], activations: Activations) -> str:
        """Store rows and return the name of their part.

        Args:
            contents: the SHA-256 of the files that the rows come from.
            activations: float16 (len(contents), ...).
        """
        name = hashlib.sha256("".join(contents).encode()).hexdigest()[:16]
        path = self.folder / f"part-{name}.npy"
        # To a file NumPy writes through C's stdio, which says nothing of the last bytes that a full disk does not take.
        buffer = io.BytesIO()
        np.save(buffer, activations)
        atomic.write_bytes(path, buffer.getbuffer())
        stat = path.stat()
        index = pd.DataFrame(
            {
                "sha256": list(contents),
                "row": np.arange(len(contents)),
                "part_crc32": zlib.crc32(buffer.getbuffer()),
                "part_size": stat.st_size,
                "part_mtime_ns": stat.st_mtime_ns,
            }
        )
        write_table(path.with_suffix(".parquet"), index, INDEX_COLUMNS)
        return path.name

    def open(self, contents: Sequence[str]) -> StoredActivations:
        """Return the activations of these file contents, in this order. Raises DataError if one is not stored."""
        index = self.index().set_index("sha256")
        missing = sorted(set(contents) - set(index.index))
        if missing:
            raise DataError(
                f"{len(missing)} of {len(contents)} training files have no stored activations in {self.folder}: expected those "
                "that `skinlesion embed` stores. Run embed."
            )
        rows = index.loc[list(contents)]
        names, part = np.unique(rows["part"].to_numpy(dtype=str), return_inverse=True)
        parts = [_Part.of(self.folder / name) for name in names]
        return StoredActivations(parts, part.astype(np.int64), rows["row"].to_numpy(dtype=np.int64))

    def tidy(self, contents: set[str]) -> tuple[int, int]:
        """Merge the small parts if there are too many, and remove those without which all of these contents are still stored.

        Returns how many were merged, and how many removed. Rows of other contents are dropped where parts are merged.
        A new part is complete before the old ones are removed, so a kill leaves rows twice, never none. Only one shard merges at
        a time; the others skip it.
        """
        listed = sorted(self.folder.glob("part-*.parquet"))
        index = self.index()
        wanted = index[is_in(index["sha256"], contents)]
        needed = set(wanted["part"])
        unused = [path for path in listed if path.with_suffix(".npy").name not in needed]
        for path in unused:
            self._remove(path)
        return self._compact(wanted), len(unused)

    def _compact(self, wanted: pd.DataFrame) -> int:
        if wanted.empty:
            return 0
        full = rows_in_a_part(_Part.of(self.folder / wanted["part"].iloc[0]).shape)
        counts = wanted["part"].value_counts()
        small = counts[counts < full / 2].sort_index()
        if len(small) <= MOST_SMALL_PARTS:
            return 0
        first_rows = small.cumsum() - small
        try:
            with locked(self.folder, "compaction", wait=0):
                for _, together in small.groupby(first_rows // full):
                    self._merge(wanted[wanted["part"].isin(together.index)])
        except DatasetBusy:
            return 0
        log.info("%d small parts of %s were merged", len(small), self.folder.name)
        return len(small)

    def _merge(self, rows: pd.DataFrame) -> None:
        """Write rows of the index as one part, then remove the parts that they were in. A damaged part is only removed."""
        contents: list[str] = []
        arrays = []
        for name, of_part in rows.groupby("part"):
            path = self.folder / str(name)
            content = path.read_bytes()
            if zlib.crc32(content) == of_part["part_crc32"].iloc[0]:
                arrays.append(np.load(io.BytesIO(content))[of_part["row"].to_numpy()])
                contents += of_part["sha256"].tolist()
            else:
                log.warning("%s is damaged; its rows are computed again", path)
        merged = self.add(contents, np.concatenate(arrays)) if arrays else ""
        # The new part has the name of an old one when it consists of that part alone, with all of its rows.
        for name in set(rows["part"]) - {merged}:
            self._remove((self.folder / name).with_suffix(".parquet"))

    def _checked(self, index_path: Path) -> pa.Table | None:
        """Return the index of a part; None, and remove the part, if either is damaged."""
        part = index_path.with_suffix(".npy")
        if not os.path.lexists(index_path):
            return None  # merged by another shard since it was listed
        try:
            table = read_part(index_path, INDEX_COLUMNS)
            expected = table.slice(0, 1).to_pylist()[0]
            require_file(part, most=int(expected["part_size"]))
            stat = part.stat()
            is_touched = (stat.st_size, stat.st_mtime_ns) != (expected["part_size"], expected["part_mtime_ns"])
            if is_touched and zlib.crc32(part.read_bytes()) != expected["part_crc32"]:
                raise ValueError("its checksum is another")
        except (OSError, ValueError, IndexError) as error:
            log.warning("%s is damaged (%s); its rows are computed again", part, error)
            self._remove(index_path)
            return None
        return table

    def _remove(self, index_path: Path) -> None:
        for path in (index_path, index_path.with_suffix(".npy")):
            if not set_aside(path):
                path.unlink(missing_ok=True)


def remove_abandoned(features: Path) -> int:
    """Remove the stores under features/ that no run has used for `ABANDONED_AFTER`; return how many were removed."""
    latest = time.time() - ABANDONED_AFTER.total_seconds()
    removed = 0
    for folder in features.glob("*/"):
        with suppress(FileNotFoundError):  # another shard removes it at the same time
            if folder.stat().st_mtime < latest:
                shutil.rmtree(folder, ignore_errors=True)
                log.info("%s has not been used for %d days: removed", folder, ABANDONED_AFTER.days)
                removed += 1
    return removed
