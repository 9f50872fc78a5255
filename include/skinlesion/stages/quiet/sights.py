"""What is seen of the disk without opening a table: the digests of files, and of the lists of files in folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from skinlesion.data.images.listed_files import list_files
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.record import Record
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.settings import PipelineConfig

Seen = dict[str, str]
"""Digests, by what was looked at."""

_PACKAGE: Final = Path(__file__).resolve().parents[2]


class Noted(Record):
    """What a stage saw when it had nothing left to do: tables/quiet/<stage>-<shard>.json.

    Attributes:
        at: when, in seconds since 1970.
        seen: digests, by what was looked at.
        report: what the stage reported, as a run with nothing to do reports it.
    """

    remedy: ClassVar[str] = "Remove it: the stage then looks at everything."

    at: float
    seen: dict[str, str]
    report: StageReport


def noted_path(dataset: Path, stage: str, shard: Shard = WHOLE) -> Path:
    """Return the path of a stage's note."""
    return layout.tables(dataset, "quiet") / f"{stage}-{shard.index + 1}-of-{shard.count}.json"


class Sights:
    """What has been looked at so far; each thing once, so several stages can share one look."""

    def __init__(self, config: PipelineConfig) -> None:
        self.config = config
        self.dataset, self.models = config.dataset, config.models
        self._digests: dict[Path, str] = {}
        self._images: tuple[list[str], str] | None = None
        self._folders: dict[tuple[Path, bool], list[str]] = {}

    def name(self, path: Path) -> str:
        """Return a path as the notes name it: below the folder of the data set or of the models."""
        for folder in (self.dataset, self.models):
            if path.is_relative_to(folder):
                return str(path.relative_to(folder.parent))
        return str(path)

    def content(self, *paths: Path) -> Seen:
        """Return the SHA-256 of each file, by its name; that of a missing file is empty."""
        for path in paths:
            if path not in self._digests:
                try:
                    self._digests[path] = sha256_of(path)
                except FileNotFoundError:
                    self._digests[path] = ""
        return {self.name(path): self._digests[path] for path in paths}

    def table(self, stage: str, shard: Shard = WHOLE) -> Seen:
        """Return the digests of the parts of a stage's table that belong to a shard, and of what else lies beside them."""
        folder = layout.tables(self.dataset, stage)
        parts = [folder / f"{bucket:02d}.parquet" for bucket in shard.buckets()]
        return self.content(*parts) | {f"{self.name(folder)}: other files": digest(self._partials(folder))}

    def files(self, folder: Path) -> Seen:
        """Return the digest of each file in a folder and in its folders."""
        found = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
        return self.content(*found) | {self.name(folder): digest(map(self.name, found))}

    def images(self) -> tuple[list[str], str]:
        """Return a line for each image file under images/, and the digest of what else lies there."""
        if self._images is None:
            listed = list_files(self.dataset)
            others = [*listed.others, *(f"{name}\0{why}" for name, why in listed.unusable.items())]
            self._images = [line_of(*file) for file in listed.files], digest(others)
        return self._images

    def folder(self, folder: Path, *, by_inode: bool = False) -> list[str]:
        """Return a line for each file in a folder: its name, size and time, or its inode; none for a folder that is missing."""
        key = folder, by_inode
        if key not in self._folders:
            self._folders[key] = list(_lines_of(folder, by_inode=by_inode))
        return self._folders[key]

    def _partials(self, folder: Path) -> list[str]:
        return [name for name in os.listdir(folder) if atomic.is_partial(name)] if folder.is_dir() else []


def digest(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines, whatever their order."""
    return hashlib.sha256("\0\0".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


@cache
def program() -> str:
    """Return the digest of this program's own code."""
    files = sorted(_PACKAGE.rglob("*.py"))
    return digest(f"{path.relative_to(_PACKAGE)}\0{sha256_of(path)}" for path in files)


def line_of(name: str, *state: int) -> str:
    """Return the line of a file in a digest: its name and the numbers by which a change shows."""
    return f"{name}\0{state}"


def _lines_of(folder: Path, *, by_inode: bool) -> Iterable[str]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if by_inode:
                yield line_of(entry.name, entry.inode())
            elif atomic.is_partial(entry.name):
                yield entry.name
            elif entry.is_file(follow_symlinks=False):
                state = entry.stat()
                yield line_of(entry.name, state.st_size, state.st_mtime_ns)


def digest_of_shard(lines: Iterable[str], shard: Shard, bucket: Callable[[str], int]) -> str:
    """Return the digest of the lines whose name is in a bucket of the shard."""
    if shard.count == 1:
        return digest(lines)
    buckets = set(shard.buckets())
    return digest(line for line in lines if bucket(line.partition("\0")[0]) in buckets)


def rows_of(see: Sights, stage: str, columns: tuple[str, ...], shard: Shard = WHOLE) -> list[tuple[Any, ...]]:
    """Return the rows of the parts of a table that belong to a shard."""
    import pyarrow.parquet as pq

    rows: list[tuple[Any, ...]] = []
    for bucket in shard.buckets():
        path = layout.tables(see.dataset, stage) / f"{bucket:02d}.parquet"
        if path.exists():
            table = pq.read_table(path, columns=list(columns), partitioning=None)
            rows += zip(*(column.to_pylist() for column in table.columns), strict=True)
    return rows
