"""Predictions of folders of any size in one table: shared by workers, resumed after a kill, whole or not there.

As in every stage, an image belongs to one of `BUCKETS` buckets, and a shard is some of the buckets. The answers are stored in
a `BucketTable` in a hidden folder beside the table, every few seconds. When no image lacks an answer, the table is written
from the buckets, in the order of the images, and the folder is removed. One process does this with one shard, the whole;
several workers predict a shard each before one of them writes the table.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import shutil
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.images.formats import image_name
from skinlesion.data.images.listing import printable
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.progress import progress
from skinlesion.foundation.record import RecordPart
from skinlesion.foundation.shard import BUCKETS, WHOLE, Shard, bucket_of
from skinlesion.foundation.spreadsheet import cell
from skinlesion.foundation.tables import BucketTable
from skinlesion.prediction.answers import ANSWER_COLUMNS, Answers
from skinlesion.prediction.classifier import Answer, Prediction
from skinlesion.prediction.image_files import image_files

COLUMNS: Final = ("image", *LABELS, "label", "decision", "reason", "learnt", "file")
"""Columns of a table of predictions. `image` is the file's name without its suffix, as everywhere; `learnt` says whether the
model learnt from the picture; `file` is its path."""

SUFFIXES_OF_TABLES: Final = (".csv", ".parquet")

SECONDS_BETWEEN_COMMITS: Final = 2.0
"""A killed run loses the answers of at most so long."""

ROWS_AT_ONCE: Final = 20_000

_BUCKET_COLUMNS: Final = {"key": "uint64", **ANSWER_COLUMNS, "learnt": "str", "refused": "str"}
"""Columns of the buckets: `key` is that of `_Images`; `refused` is why there is no answer, else empty."""

_NO_ANSWER: Final = Answer(np.full(len(LABELS), np.nan, np.float32), None, "", "")

Predict = Callable[[Iterable[Path]], Iterator[Prediction]]
"""Yields a prediction for each file, in order."""


class PredictionCounts(RecordPart):
    """Numbers of images of a shard: all, predicted in this run, kept from a run that was stopped, and refused in both."""

    images: int
    done: int
    kept: int
    refused: int


@dataclass(frozen=True)
class _Images:
    """The images of a shard, in the order of the table: their paths, keys and buckets.

    A key is 64 bits that name the model, the file, its size and its time; an answer holds as long as they are the same. Two of
    a million images have the same key once in 37 million times.
    """

    files: list[str]
    keys: npt.NDArray[np.uint64]
    buckets: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, paths: Sequence[Path], shard: Shard, identity: str) -> Self:
        files, keys, buckets, of_shard = [], array("Q"), array("B"), set(shard.buckets())
        for path in image_files(paths):
            bucket = bucket_of(printable(image_name(path)))
            if bucket in of_shard:
                files.append(str(path))
                keys.append(_key(path, identity))
                buckets.append(bucket)
        return cls(files, np.array(keys, dtype=np.uint64), np.array(buckets, dtype=np.uint8))

    def of_bucket(self, bucket: int) -> npt.NDArray[np.intp]:
        """Return the positions of a bucket's images."""
        return np.flatnonzero(self.buckets == bucket)


def refused_beside(table: Path) -> Path:
    """Return the path of the list of refused images and reasons; the file is there only if there are any."""
    return table.with_name(f"{table.stem}.refused.csv")


def predict_shard(
    table: Path, paths: Sequence[Path], predict: Predict, *, shard: Shard, identity: str
) -> PredictionCounts:
    """Predict the images of a shard that have no stored answer, and store the answers for `predict_into`.

    Args:
        table: the table that the answers are for.
        paths: image files and folders of them.
        predict: the model.
        shard: the slice of the images.
        identity: names the model and the settings; answers of another identity are not used.

    Raises:
        DataError: the table's suffix is none of `SUFFIXES_OF_TABLES`, or a path is missing.
        DatasetBusy: another process is predicting images of this shard for this table.
    """
    with _held(table, shard) as stored:
        return _predict_missing(stored, _Images.of(paths, shard, identity), predict, shard)


def predict_into(table: Path, paths: Sequence[Path], predict: Predict, *, identity: str) -> PredictionCounts:
    """Predict what no shard has predicted, then write the table (.csv or .parquet) and beside it the list of refused images.

    The files appear when they are whole. Parameters and errors are those of `predict_shard`.
    """
    with _held(table, WHOLE) as stored:
        images = _Images.of(paths, WHOLE, identity)
        counts = _predict_missing(stored, images, predict, WHOLE)
        refused = ((printable(str(one.file)), one.refused) for one in _predictions(stored, images) if one.refused)
        usable = (one for one in _predictions(stored, images) if not one.refused)
        if counts.refused:
            _write_csv(refused_beside(table), ("file", "reason"), (map(cell, row) for row in refused))
        else:
            refused_beside(table).unlink(missing_ok=True)
        if table.suffix.lower() == ".csv":
            _write_csv(table, COLUMNS, map(csv_row, usable))
        else:
            _write_parquet(table, usable)
        shutil.rmtree(stored.folder)
    return counts


@contextmanager
def _held(table: Path, shard: Shard) -> Iterator[BucketTable]:
    """Hold the shard's buckets of the answers for a table, each for one process at a time."""
    if table.suffix.lower() not in SUFFIXES_OF_TABLES:
        raise DataError(f"{table}: expected a name ending in {' or '.join(SUFFIXES_OF_TABLES)}.")
    stored = BucketTable(table.with_name(f".{table.name}.partial"), _BUCKET_COLUMNS)
    stored.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for bucket in shard.buckets():
            stack.enter_context(locked(stored.folder, f"prediction-{bucket:02d}", wait=0, where=str(table)))
        atomic.remove_partials(stored.folder)
        yield stored


def _predict_missing(stored: BucketTable, images: _Images, predict: Predict, shard: Shard) -> PredictionCounts:
    """Store an answer for each image of the shard that has none, bucket by bucket."""
    missing, refused = [np.empty(0, dtype=np.intp)], 0
    for bucket in shard.buckets():
        here = images.of_bucket(bucket)
        if stored.path(bucket).exists():
            # This also removes the answers for images that are gone or were altered since.
            known = _store(stored, bucket, images, [])
            refused += int((known["refused"] != "").sum())
            here = here[~np.isin(images.keys[here], known["key"])]
        missing.append(here)
    todo = np.concatenate(missing).tolist()
    done: list[tuple[int, Prediction]] = []

    def commit() -> None:
        for bucket, of_bucket in itertools.groupby(done, key=lambda one: int(images.buckets[one[0]])):
            _store(stored, bucket, images, list(of_bucket))
        done.clear()

    last = time.monotonic()
    with progress("predict", len(todo)) as advance:
        try:
            for answered in zip(todo, predict(Path(images.files[at]) for at in todo), strict=True):
                done.append(answered)
                refused += bool(answered[1].refused)
                advance(1)
                if time.monotonic() - last > SECONDS_BETWEEN_COMMITS:
                    commit()
                    last = time.monotonic()
        finally:
            commit()
    return PredictionCounts(
        images=len(images.files), done=len(todo), kept=len(images.files) - len(todo), refused=refused
    )


def _store(stored: BucketTable, bucket: int, images: _Images, done: Sequence[tuple[int, Prediction]]) -> pd.DataFrame:
    """Add answers to a bucket and return its rows: one an image that is there now and has an answer, in their order."""
    given = [prediction.answer or _NO_ANSWER for _, prediction in done]
    answers, learnt = Answers.of(given), [answer.learnt for answer in given]
    keys, refused = images.keys[[at for at, _ in done]], [prediction.refused for _, prediction in done]
    columns = {"key": keys, **answers.as_columns(), "learnt": learnt, "refused": refused}
    new = pd.DataFrame(columns).astype(_BUCKET_COLUMNS)
    rows: pd.DataFrame = pd.concat([stored.read([bucket]), new]).drop_duplicates("key")
    places = pd.Index(rows["key"]).get_indexer(images.keys[images.of_bucket(bucket)])
    rows = rows.iloc[places[places >= 0]]
    stored.write(bucket, rows)
    return rows


def _predictions(stored: BucketTable, images: _Images) -> Iterator[Prediction]:
    """Yield the stored prediction of each image, in the order of the images; the buckets are in the same order."""
    rows = [stored.rows(bucket) for bucket in range(BUCKETS)]
    for file, key, bucket in zip(images.files, images.keys.tolist(), images.buckets.tolist(), strict=True):
        row = next(rows[bucket], None)
        if row is None or row[0] != key:
            raise OSError(f"{stored.path(bucket)} was altered while it was read; expected the answer for {file}")
        _, *probabilities, distance, decision, reason, learnt, refused = row
        if refused:
            yield Prediction(Path(file), None, refused)
        else:
            answer = Answer(np.array(probabilities, np.float32), distance, decision, reason, learnt)
            yield Prediction(Path(file), answer)


def _key(path: Path, identity: str) -> int:
    try:
        stat = path.stat()
        content = f"{identity}\0{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    except OSError:  # The file is gone or cannot be read; its prediction says so.
        content = f"{identity}\0{path.absolute()}\0"
    return int.from_bytes(hashlib.blake2b(os.fsencode(content), digest_size=8).digest(), "big")


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    with atomic.replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def csv_row(prediction: Prediction) -> list[str]:
    """Return the row of a prediction as CSV has it; a name that a spreadsheet would compute gets an apostrophe before it."""
    image, *numbers, label, decision, reason, learnt, file = _row(prediction)
    return [
        cell(str(image)),
        *(f"{number:.6f}" for number in numbers),
        str(label),
        str(decision),
        str(reason),
        str(learnt),
        cell(str(file)),
    ]


def _write_parquet(path: Path, predictions: Iterator[Prediction]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.float32() if name in LABELS else pa.string()) for name in COLUMNS])
    with atomic.replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while batch := [_row(one) for one in itertools.islice(predictions, ROWS_AT_ONCE)]:
            columns = [
                pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _row(prediction: Prediction) -> tuple[str | float, ...]:
    """Return the values of `COLUMNS`."""
    answer, file = prediction.answer, printable(str(prediction.file))
    assert answer is not None
    said = (answer.label, answer.decision, answer.reason, answer.learnt)
    return (image_name(file), *answer.probabilities.tolist(), *said, file)
