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
from filelock import FileLock, Timeout

from skinlesion.foundation import atomic
from skinlesion.foundation.tables import empty, read_table, write_table

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

BYTES_IN_A_PART: Final = 40_000_000
"""About 1,000 rows of block_12_add's activations: what a killed run loses, and what is held in memory while writing."""

MOST_ROWS_IN_A_PART: Final = 4096
"""Of small rows, as pooled vectors are: a killed run would lose much work in few bytes."""

MOST_SMALL_PARTS: Final = 16
"""Each night and shard leaves a part; more than so many that are not half full are put together."""

ABANDONED_AFTER: Final = timedelta(days=30)
"""A store fills a disk (0.4 GB a thousand images): what other weights or another cut have left goes after so long."""


def rows_in_a_part(shape: tuple[int, ...]) -> int:
    """Give how many rows of this shape, float16, make a full part."""
    return max(1, min(MOST_ROWS_IN_A_PART, BYTES_IN_A_PART // (2 * int(np.prod(shape)))))


@dataclass(frozen=True)
class _Part:
    """Where the rows of a part's file lie: the array begins at `offset`, (rows, *shape) float16."""

    path: Path
    offset: int
    shape: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> _Part:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"{path} is written in another version of NumPy's format, {version}")
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
            return cls(path, file.tell(), tuple(shape[1:]))

    def read(self, items: npt.NDArray[np.int64], into: Activations, positions: npt.NDArray[np.int64]) -> None:
        """Read to positions of an array what it is made of, rows or items of rows; item i follows the i before it."""
        size = 2 * int(np.prod(into.shape[1:]))
        with self.path.open("rb", buffering=0) as file:
            for item, position in zip(items.tolist(), positions.tolist(), strict=True):
                if os.preadv(file.fileno(), [into[position].data], self.offset + item * size) != size:
                    raise OSError(f"{self.path} is shorter than its index says; run embed again")


@dataclass(frozen=True)
class StoredActivations:
    """Rows of the store, in the order asked for; read when asked for.

    Read, not memory-mapped: the pages that a mapping has touched count as the process's memory until the kernel takes
    them back, and an epoch touches every one.

    part and row: int64 (n,), where each wanted row lies.
    """

    parts: Sequence[_Part]
    part: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.parts[0].shape

    def take(self, positions: npt.NDArray[np.int64]) -> Activations:
        """Give the rows at these positions, float16 (len(positions), ...)."""
        return self._read(positions, self.row[positions], self.shape)

    def take_items(self, positions: npt.NDArray[np.int64], items: npt.NDArray[np.int64]) -> Activations:
        """Give one item, along the row's first axis, of each of the rows at these positions, float16 (n, ...)."""
        return self._read(positions, self.row[positions] * self.shape[0] + items, self.shape[1:])

    def _read(
        self, positions: npt.NDArray[np.int64], items: npt.NDArray[np.int64], shape: tuple[int, ...]
    ) -> Activations:
        result = np.empty((len(positions), *shape), dtype=np.float16)
        of_part = self.part[positions]
        for part in np.unique(of_part):
            here = np.flatnonzero(of_part == part)
            self.parts[part].read(items[here], result, here)
        return result


class FeatureStore:
    """Activations under features/<key>/: part-<hash>.npy and part-<hash>.parquet, its index.

    A part's name is the hash of the contents it holds, so the same work gives the same name; the index is written after
    the part. A part that is no longer what its index says is removed, and its rows are missing again. The folder's time is
    that of its last use.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        atomic.remove_partials(folder)

    def index(self) -> pd.DataFrame:
        """Give what is stored: columns sha256, part (file name), row; each content once, parts in order of name."""
        tables = [empty(INDEX_COLUMNS).assign(part=pd.Series(dtype="str"))]
        for path in sorted(self.folder.glob("part-*.parquet")):
            table = self._checked(path)
            if table is not None:
                tables.append(table.assign(part=path.with_suffix(".npy").name))
        return pd.concat(tables, ignore_index=True).drop_duplicates("sha256", ignore_index=True)

    def add(self, contents: Sequence[str], activations: Activations) -> str:
        """Store rows: activations float16 (len(contents), ...), contents the sha256 of the files they come from.

        Gives the part's name.
        """
        name = hashlib.sha256("".join(contents).encode()).hexdigest()[:16]
        path = self.folder / f"part-{name}.npy"
        rows = np.ascontiguousarray(activations)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(rows))
        crc = zlib.crc32(rows.data.cast("B"), zlib.crc32(header.getvalue()))
        with atomic.replacing(path) as partial, partial.open("wb") as file:  # closed, then flushed and renamed
            file.write(header.getvalue())
            file.write(rows.data)
        stat = path.stat()
        index = pd.DataFrame(
            {
                "sha256": list(contents),
                "row": np.arange(len(contents)),
                "part_crc32": crc,
                "part_size": stat.st_size,
                "part_mtime_ns": stat.st_mtime_ns,
            }
        )
        write_table(path.with_suffix(".parquet"), index, INDEX_COLUMNS)
        return path.name

    def open(self, contents: Sequence[str]) -> StoredActivations:
        """Give the activations of these file contents, in this order. Raises KeyError when one is not stored."""
        index = self.index().set_index("sha256")
        missing = sorted(set(contents) - set(index.index))
        if missing:
            raise KeyError(f"{len(missing)} of {len(contents)} files have no stored activations; run embed")
        rows = index.loc[list(contents)]
        names, part = np.unique(rows["part"].to_numpy(dtype=str), return_inverse=True)
        parts = [_Part.of(self.folder / name) for name in names]
        return StoredActivations(parts, part.astype(np.int64), rows["row"].to_numpy(dtype=np.int64))

    def remove_unused(self, contents: set[str]) -> int:
        """Remove the parts that hold none of these contents, or none that an earlier part does not; give their number."""
        listed = sorted(self.folder.glob("part-*.parquet"))
        index = self.index()
        needed = set(index.loc[index["sha256"].isin(contents), "part"])
        unused = [path for path in listed if path.with_suffix(".npy").name not in needed]
        for path in unused:
            self._remove(path)
        return len(unused)

    def compact(self, contents: set[str]) -> int:
        """Put small parts together when they have become many, leaving rows of other contents out; give their number.

        The new part is there before an old one goes, so a kill leaves rows twice, never none. One shard does it at a
        time: the others, which find the lock taken, leave it.
        """
        index = self.index()
        wanted = index[index["sha256"].isin(contents)]
        if wanted.empty:
            return 0
        full = rows_in_a_part(_Part.of(self.folder / wanted["part"].iloc[0]).shape)
        counts = wanted["part"].value_counts()
        small = sorted(counts.index[counts < full / 2])
        if len(small) <= MOST_SMALL_PARTS:
            return 0
        try:
            with FileLock(self.folder / ".compaction.lock", timeout=0, fallback_to_soft=False):
                gathered: list[str] = []
                for names in _filling(small, counts, full):
                    gathered += self._merge(names, wanted)
        except Timeout:
            return 0
        log.info("%d small parts of %s put together", len(gathered), self.folder.name)
        return len(gathered)

    def _merge(self, names: Sequence[str], wanted: pd.DataFrame) -> list[str]:
        """Write the wanted rows of some parts as one part and remove them; give their names. A damaged one is removed."""
        contents: list[str] = []
        arrays = []
        for name in names:
            rows = wanted[wanted["part"] == name]
            expected = read_table((self.folder / name).with_suffix(".parquet"), INDEX_COLUMNS)["part_crc32"].iloc[0]
            content = (self.folder / name).read_bytes()
            if zlib.crc32(content) != expected:
                log.warning("%s is damaged; its rows are computed again", self.folder / name)
                self._remove((self.folder / name).with_suffix(".parquet"))
                continue
            arrays.append(np.load(io.BytesIO(content))[rows["row"].to_numpy()])
            contents += rows["sha256"].tolist()
        merged = self.add(contents, np.concatenate(arrays)) if arrays else ""
        for name in names:
            if name != merged:  # a part alone in its group, all of whose rows are wanted
                self._remove((self.folder / name).with_suffix(".parquet"))
        return list(names)

    def _checked(self, index_path: Path) -> pd.DataFrame | None:
        part = index_path.with_suffix(".npy")
        if not index_path.exists():
            return None  # compacted by another shard since it was listed
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


def remove_abandoned(features: Path) -> int:
    """Remove the stores under features/ that no run has used for `ABANDONED_AFTER`; give their number."""
    latest = time.time() - ABANDONED_AFTER.total_seconds()
    removed = 0
    for folder in features.glob("*/"):
        with suppress(FileNotFoundError):  # another shard is at it too
            if folder.stat().st_mtime < latest:
                shutil.rmtree(folder, ignore_errors=True)
                log.info("%s has not been used for %d days: removed", folder, ABANDONED_AFTER.days)
                removed += 1
    return removed


def _filling(names: Sequence[str], rows: pd.Series, full: int) -> list[list[str]]:
    """Give the names in groups, in order, each of which fills a part as far as whole ones do."""
    groups: list[list[str]] = [[]]
    filled = 0
    for name in names:
        if filled + rows[name] > full:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += rows[name]
    return groups
