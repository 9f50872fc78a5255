"""What is known of each file under images/: hash, header, whether it decodes, statistics. A file is read once.

There is one row a file, in a table of parts (`BucketTable`), so that several shards can examine images at the same time. A
row is valid while the file has the size and the times of the row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd

from skinlesion.data.images.colour import CONVERSION_VERSION
from skinlesion.data.images.dicom import DicomFile, Subject, is_dicom
from skinlesion.data.images.file import ImageHeader, ImageRefused, check_decodes, check_header, read_header
from skinlesion.data.images.listed_files import FileStat, bucket_of_file, list_files
from skinlesion.data.images.perceptual_hash import descriptor_of
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.images.statistics import NOT_KNOWN, image_statistics
from skinlesion.data.settings import DataSettings
from skinlesion.data.subject_key import SubjectKey
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import NotAFile, read_file, reason_of
from skinlesion.foundation.shard import BUCKETS, WHOLE, Shard
from skinlesion.foundation.tables import BucketTable, empty
from skinlesion.foundation.workers import spread

SUBJECT_COLUMNS: Final = ("patient_id", "lesion_id", "sex", "site")

_VERSION: Final = 1
"""Count it up when a file's row changes for a reason that no setting shows. All files are then read again."""

FILE_COLUMNS: Final = {
    "file": "str",
    "size": "int64",
    "mtime_ns": "int64",
    "ctime_ns": "int64",
    "sha256": "str",
    "width": "int32",
    "height": "int32",
    "format": "str",
    "reason": "str",
    "settings": "str",
    **STATISTICS,
    "look": "str",
    **dict.fromkeys(SUBJECT_COLUMNS, "str"),
    "age": "float64",
}
"""The columns that are stored of a file, so that the next run need not read it again. `look` is its descriptor (see
`images.perceptual_hash`), `reason` why it cannot be used, `settings` the fingerprint of the settings; `SUBJECT_COLUMNS` and
`age` are what a DICOM file says of its subject."""

_ROWS_BETWEEN_WRITES: Final = 2048  # bounds what a killed run has to examine again


_Row = dict[str, str | int | float]  # of FILE_COLUMNS


class Examined(NamedTuple):
    """What is known of the files under images/.

    Attributes:
        files: `FILE_COLUMNS`, one row a file.
        read: number of files that were read in this call.
        others: the names of files that are no images.
        unusable: what lies there under the name of an image and is no file, and folders that are not searched: their names
            and the reasons.
    """

    files: pd.DataFrame
    read: int
    others: list[str]
    unusable: dict[str, str]


def examined_files(config: DataSettings, shard: Shard = WHOLE, *, again: bool = False) -> Examined:
    """Read, hash and decode the files of the shard that are new or have changed; return what is known of all its files.

    No lock is needed: a part of the table is replaced whole, and where two processes write it at once, one of them only has
    to read some files again.

    again: read known files too.
    """
    folder = layout.images(config.dataset)
    buckets = set(shard.buckets())
    listed, others, unusable = list_files(config.dataset, None if len(buckets) == BUCKETS else buckets)
    table = BucketTable(layout.tables(config.dataset, "ingest"), FILE_COLUMNS)
    settings = settings_of(config)
    key_of_subjects = SubjectKey(config.dataset)
    atomic.remove_partials(table.folder)
    known = table.read(sorted(buckets))
    now = pd.DataFrame(listed, columns=list(FileStat._fields)).astype({"file": "str"})
    gone = _buckets(known.loc[~is_in(known["file"], now["file"]), "file"])
    key = ["file", "size", "mtime_ns", "ctime_ns"]
    if again:
        known = empty(FILE_COLUMNS)
    mark = key_of_subjects.mark()  # of another key, ids have other names
    for column in ("patient_id", "lesion_id"):
        known = known[(known[column] == "") | known[column].str.startswith(mark)]
    merged = now.merge(known[known["settings"] == settings], on=key, how="left", indicator=True)
    is_new = (merged.pop("_merge") == "left_only").to_numpy()
    rows = merged[~is_new].reset_index(drop=True)
    todo = [listed[position] for position in np.flatnonzero(is_new)]
    todo.sort(key=lambda file: bucket_of_file(file.file))
    examine = partial(
        _examine,
        folder=folder,
        most=config.largest_file,
        max_pixels=config.max_image_pixels,
        min_side=config.min_image_side,
        settings=settings,
        key=key_of_subjects,
    )
    with progress("examine", len(todo)) as advance:
        examined = _counted(spread(examine, todo, workers=config.workers_used(), kind="threads"), advance)
        while some := list(itertools.islice(examined, _ROWS_BETWEEN_WRITES)):
            batch = pd.DataFrame(some).astype(FILE_COLUMNS)
            rows = pd.concat([rows, batch], ignore_index=True)
            table.write_each(rows, rows["file"].map(bucket_of_file), _buckets(batch["file"]), "file")
    if gone:
        table.write_each(rows, rows["file"].map(bucket_of_file), gone, "file")
    return Examined(rows, len(todo), others, unusable)


def settings_of(config: DataSettings) -> str:
    """Return the fingerprint of the settings, and of the code, with which a file is examined."""
    return config.fingerprint("ingest", _VERSION + CONVERSION_VERSION)


def known_of(config: DataSettings, file: str) -> pd.DataFrame:
    """Return what is known of one file, `FILE_COLUMNS`: one row, or none."""
    known = BucketTable(layout.tables(config.dataset, "ingest"), FILE_COLUMNS).read([bucket_of_file(file)])
    return known[known["file"] == file]


def _counted(rows: Iterable[_Row], advance: Callable[[int], None]) -> Iterator[_Row]:
    for row in rows:
        advance(1)
        yield row


def _buckets(files: pd.Series) -> set[int]:
    return {bucket_of_file(file) for file in files}


def _examine(
    file: FileStat, *, folder: Path, most: int, max_pixels: int, min_side: int, settings: str, key: SubjectKey
) -> _Row:
    header = ImageHeader(format="", width=0, height=0, mode="")
    digest = reason = descriptor = ""
    statistics, subject = NOT_KNOWN, Subject()
    try:
        content = read_file(f"{folder}/{file.file}", most=most)
        if len(content) != file.size:
            raise NotAFile(file.file, "it changed while it was being read")
        digest = sha256_of(content)
        header = read_header(content)
        check_header(header, max_pixels=max_pixels, min_side=min_side)
        small = check_decodes(content, header)
        descriptor, statistics = descriptor_of(small), image_statistics(small)
        if is_dicom(content):
            subject = DicomFile(content).subject()
    except ImageRefused as refusal:
        reason = str(refusal)
    except OSError as error:
        # A row of no settings is stale: the next run tries again, whether the file shows a change or not.
        reason, settings = reason_of(error), ""
    return file._asdict() | {
        "sha256": digest,
        "width": header.width,
        "height": header.height,
        "format": header.format,
        "reason": reason,
        "settings": settings,
        "look": descriptor,
        "patient_id": key.name_of("patient", subject.patient),
        "lesion_id": key.name_of("lesion", subject.lesion),
        "sex": subject.sex,
        "site": subject.site,
        "age": subject.age,
        **statistics,
    }
