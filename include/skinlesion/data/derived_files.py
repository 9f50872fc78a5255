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
from skinlesion.foundation.membership import is_in
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
    todo = wanted[~is_in(wanted["name"], current["name"])]
    stray = present[~is_in(present["name"], wanted["name"])]
    for name in stray["name"]:
        (folder / name).unlink(missing_ok=True)

    rows = current
    jobs = [Job(*row) for row in todo[["name", "image", "source", "input"]].itertuples(index=False)]
    jobs.sort(key=lambda job: (bucket_of(job.image), job.name))
    # First the rows of files that are about to be replaced or removed go: they must not outlive the files.
    _write(table, rows, _changed(known, rows), folder)
    with progress(stage, len(jobs)) as advance:
        made: list[Made] = []
        last = time.monotonic()
        try:
            for one in spread(make, jobs, workers=workers, kind=kind):
                made.append(one)
                advance(1)
                if time.monotonic() - last > SECONDS_BETWEEN_COMMITS:
                    rows = _with(rows, made, settings)
                    _write(table, rows, {bucket_of(one.job.image) for one in made}, folder)
                    made, last = [], time.monotonic()
        finally:
            atomic.remove_partials(folder, own=True)
    rows = _with(rows, made, settings)
    _write(table, rows, {bucket_of(one.job.image) for one in made}, folder)
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


def _changed(known: pd.DataFrame, rows: pd.DataFrame) -> set[int]:
    """Return the buckets of known rows that are no longer there, or whose file has another size or time now."""
    state = ["size", "mtime_ns"]
    now = rows.drop_duplicates("name").set_index("name")[state].reindex(known["name"], fill_value=-1)
    differs = (now.to_numpy() != known[state].to_numpy()).any(axis=1)
    return set(known.loc[differs, "image"].map(bucket_of))


def _write(table: BucketTable, rows: pd.DataFrame, buckets: set[int], folder: Path) -> None:
    """Write the rows of some buckets. The files that the table is about to name are on disk first, however the machine ends."""
    if buckets:
        atomic.flush_all(folder)
        table.write_each(rows, rows["image"].map(bucket_of), buckets, "name")
