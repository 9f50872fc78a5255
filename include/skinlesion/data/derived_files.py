"""A folder of files derived from images, kept up to date: missing and stale files are made, unwanted ones removed.

This makes resize and augment incremental, atomic and shardable. The stage keeps one row for each file that it made
(`BucketTable`): the content hash of its input, the settings, and the size, time and hash of the finished file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pandas as pd

from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import set_aside
from skinlesion.foundation.shard import BUCKETS, Shard, bucket_of
from skinlesion.foundation.tables import BucketTable
from skinlesion.foundation.workers import spread

COLUMNS: Final = {
    "name": "str",
    "image": "str",
    "source": "str",
    "settings": "str",
    "sha256": "str",
    "size": "int64",
    "mtime_ns": "int64",
    "refused": "str",
}
"""The columns of a stage's table: `source` is the input's content hash, `settings` the fingerprint of the settings, `sha256`
the hash of the file, `refused` the reason why there is no file."""

SECONDS_BETWEEN_COMMITS: Final = 5.0
"""Seconds of work that a killed run loses at most. A commit flushes the disk, which takes some 30 ms."""


@dataclass(frozen=True)
class Job:
    """One file to make: its name in the folder, the image it shows, the path and content hash of its input."""

    name: str
    image: str
    source: str
    input: str


@dataclass(frozen=True)
class Made:
    """The result of a job: hash, size and time of the file, or the reason why there is none."""

    job: Job
    sha256: str = ""
    size: int = 0
    mtime_ns: int = 0
    refused: str = ""


@dataclass(frozen=True)
class Outcome:
    """The counts of one run, and the reason of each refused image, by its name."""

    wanted: int
    done: int
    removed: int
    refused: dict[str, str]


def write_made(job: Job, folder: Path, content: bytes) -> Made:
    """Write the file of a job; return its hash, size and time."""
    path = folder / job.name
    set_aside(path)
    atomic.write_one_of_many(path, content)
    stat = path.stat()
    return Made(job, sha256_of(content), stat.st_size, stat.st_mtime_ns)


def bring_up_to_date(
    *,
    stage: str,
    folder: Path,
    table: BucketTable,
    wanted: pd.DataFrame,
    settings: str,
    make: Callable[[Job], Made],
    image_of: Callable[[str], str],
    shard: Shard,
    workers: int,
    kind: Literal["threads", "processes"],
    force: bool,
) -> Outcome:
    """Make the wanted files of the shard that are missing or stale, and remove files that are not wanted.

    A file is stale when its row has another source or other settings, or when the file has changed since; where its size or
    time is different, its hash decides.

    wanted: columns name, image, source, input, one row a file. image_of: returns the image that a file's name belongs to,
    so that an unknown file is found in the right shard.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic.remove_partials(folder)
    atomic.remove_partials(table.folder)
    buckets = set(shard.buckets())
    wanted = wanted[wanted["image"].map(bucket_of).isin(buckets)]
    known = table.read(sorted(buckets))
    present = _list(folder, image_of, buckets)

    current = _current(wanted, known, present, settings, folder) if not force else known.iloc[:0]
    todo = wanted[~wanted["name"].isin(current["name"])]
    stray = present[~present["name"].isin(wanted["name"])]
    for name in stray["name"]:
        (folder / name).unlink(missing_ok=True)

    rows = current
    commit = _Committer(table, known, folder)
    jobs = [Job(*row) for row in todo[["name", "image", "source", "input"]].itertuples(index=False)]
    jobs.sort(key=lambda job: (bucket_of(job.image), job.name))
    # First the rows of files that are about to be replaced or removed go: they must not outlive the files.
    commit.write(rows)
    with progress(stage, len(jobs)) as advance:
        made: list[Made] = []
        last = time.monotonic()
        try:
            for one in spread(make, jobs, workers=workers, kind=kind):
                made.append(one)
                advance(1)
                if time.monotonic() - last > SECONDS_BETWEEN_COMMITS:
                    rows = _with(rows, made, settings)
                    commit.write(rows)
                    made, last = [], time.monotonic()
        finally:
            atomic.remove_partials(folder, own=True)
    rows = _with(rows, made, settings)
    commit.write(rows)
    refused = rows[rows["refused"] != ""]
    return Outcome(
        wanted=len(wanted),
        done=len(jobs),
        removed=len(stray),
        refused=dict(zip(refused["image"], refused["refused"], strict=True)),
    )


def _list(folder: Path, image_of: Callable[[str], str], buckets: set[int]) -> pd.DataFrame:
    is_whole = len(buckets) == BUCKETS
    found = [
        (entry.name, stat.st_size, stat.st_mtime_ns)
        for entry in os.scandir(folder)
        if not atomic.is_partial(entry.name)
        and entry.is_file(follow_symlinks=False)
        and (is_whole or bucket_of(image_of(entry.name)) in buckets)
        and (stat := entry.stat())
    ]
    return pd.DataFrame(found, columns=["name", "size", "mtime_ns"]).astype({"name": "str"})


def _current(
    wanted: pd.DataFrame, known: pd.DataFrame, present: pd.DataFrame, settings: str, folder: Path
) -> pd.DataFrame:
    """Return the known rows that need no work, with the present times of files whose content is unchanged."""
    valid = known[known["settings"] == settings].merge(wanted[["name", "source"]], on=["name", "source"])
    refused = valid[valid["refused"] != ""]
    filed = valid[valid["refused"] == ""].merge(present, on="name", suffixes=("", "_now"))
    untouched = (filed["size"] == filed["size_now"]) & (filed["mtime_ns"] == filed["mtime_ns_now"])
    same = [
        is_same or _has_hash(folder / name, sha256)
        for is_same, name, sha256 in zip(untouched, filed["name"], filed["sha256"], strict=True)
    ]
    filed = filed[pd.Series(same, index=filed.index, dtype=bool)]
    filed = filed.assign(size=filed["size_now"], mtime_ns=filed["mtime_ns_now"])
    return pd.concat([filed[list(COLUMNS)], refused[list(COLUMNS)]], ignore_index=True)


def _has_hash(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except FileNotFoundError:
        return False


def _with(rows: pd.DataFrame, made: Iterable[Made], settings: str) -> pd.DataFrame:
    new = [
        (one.job.name, one.job.image, one.job.source, settings, one.sha256, one.size, one.mtime_ns, one.refused)
        for one in made
    ]
    return pd.concat([rows, pd.DataFrame(new, columns=list(COLUMNS)).astype(COLUMNS)], ignore_index=True)


class _Committer:
    """Writer of the buckets whose rows changed since they were last written."""

    def __init__(self, table: BucketTable, known: pd.DataFrame, folder: Path) -> None:
        self._table = table
        self._folder = folder
        self._written = self._marks(known)

    def write(self, rows: pd.DataFrame) -> None:
        marks = self._marks(rows)
        changed = [
            bucket for bucket in marks.keys() | self._written.keys() if marks.get(bucket) != self._written.get(bucket)
        ]
        if not changed:
            return
        # The files that the table is about to name are on disk first, however the machine ends.
        atomic.flush_all(self._folder)
        self._table.write_each(rows, rows["image"].map(bucket_of), changed, "name")
        self._written = marks

    @staticmethod
    def _marks(rows: pd.DataFrame) -> dict[int, int]:
        """Return an order-independent hash of each bucket's rows."""
        if rows.empty:
            return {}
        hashes = pd.util.hash_pandas_object(rows[list(COLUMNS)], index=False)
        buckets = rows["image"].map(bucket_of).to_numpy()
        return {bucket: hash(tuple(sorted(hashes[buckets == bucket]))) for bucket in set(buckets.tolist())}
