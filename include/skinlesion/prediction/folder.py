"""Predictions of folders of any size into one table: streamed, resumed after a kill, whole or not there.

What is predicted goes line by line into a journal beside the table, so a killed run loses the last second. When all is
done the table is made from the journal at once and the journal is removed.

Several machines can share a folder: each writes the journal of its shard beside the table (`predict_shard`), and
`predict_into` takes over what those hold before it predicts what is missing.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import re
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from skinlesion.data.images.file import SUFFIXES
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import WHOLE, Shard, bucket_of
from skinlesion.foundation.spreadsheet import cell
from skinlesion.prediction.classifier import Prediction
from skinlesion.registry.model_files import RULE_FILE

COLUMNS: Final = ("image", *LABELS, "label", "decision", "reason", "file")
"""`image` is the file's name without its suffix, as everywhere; `file` tells apart those of two folders."""

SUFFIXES_OF_TABLES: Final = (".csv", ".parquet")

SECONDS_BETWEEN_WRITES: Final = 1.0
ROWS_AT_ONCE: Final = 20_000

_JOURNAL_VERSION: Final = 1

_BITS_OF_START: Final = 48  # of a number that says in which of several journals a line lies, and where it starts

Keys = npt.NDArray[np.uint64]


class TableBusy(DataError):
    """Another process writes the same table, or the same shard of it."""


@dataclass(frozen=True)
class BatchReport:
    """What became of the images: `done` in this run, `kept` from one that was killed, `refused` in both."""

    images: int
    done: int
    kept: int
    refused: int


def image_files(paths: Sequence[Path], shard: Shard = WHOLE) -> Iterator[Path]:
    """Give the files named and the image files under the folders named, folder by folder, each sorted; those of a shard.

    A folder within another one that is named comes once. Raises DataError when a path is missing, before the first file.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} is missing: expected an image file or a folder of images.")
    roots = {path: path.resolve() for path in paths}
    folders = {root for path, root in roots.items() if path.is_dir()}
    outermost = {
        path: root
        for number, (path, root) in enumerate(roots.items())
        if not folders & set(root.parents) and root not in list(roots.values())[:number]
    }
    found = itertools.chain.from_iterable(_under(path) for path in outermost)
    if shard == WHOLE:
        return found
    buckets = set(shard.buckets())
    return (path for path in found if bucket_of(_shown(path.stem)) in buckets)


def _under(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for name in sorted(os.listdir(path)):
        if name.startswith("."):
            continue
        found = path / name
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            yield found
        elif found.is_dir() and not found.is_symlink():
            yield from _under(found)


def count_images(paths: Sequence[Path]) -> int:
    """Give how many images `image_files` gives. Raises DataError when there is none."""
    count = sum(1 for _ in image_files(paths))
    if not count:
        raise DataError(
            f"No image file in {', '.join(map(str, paths))}: expected names ending in {', '.join(sorted(SUFFIXES))}."
        )
    return count


def refused_beside(table: Path) -> Path:
    """Give the path of the list of refused images and reasons: there only when there are any."""
    return table.with_name(f"{table.stem}.refused.csv")


def predict_into(
    table: Path,
    paths: Sequence[Path],
    predict: Callable[[Iterable[Path]], Iterator[Prediction]],
    *,
    identity: str,
    advance: Callable[[int], None],
    refused: Callable[[Prediction], None],
) -> BatchReport:
    """Write the table of predictions (.csv or .parquet, by its suffix), and beside it those of refused images.

    Args:
        table: the file to write; it appears when it is whole.
        paths: image files and folders of them.
        predict: gives a prediction a file, in order.
        identity: of what predictions depend on, see `made_by`; a journal of something else is not gone on from.
        advance: called with the number of images just finished, those found in the journal included.
        refused: called with each image that cannot be used, in this run.

    Returns:
        The counts.

    Raises:
        DataError: another suffix, another process is at the same table, or a path is missing.
    """
    journal_path = table.with_name(f".{table.name}.partial")
    with _locked(journal_path, table) as journal:
        parts = _parts_of(table)
        known = _take_over(journal, _go_on(journal, identity), parts, paths, identity)
        done, kept = _predict_missing(journal, paths, predict, known, advance, refused)
        rows = _Rows(journal, np.sort(np.concatenate([done, kept])))
        count = _write_refused(rows, refused_beside(table))
        (_write_csv if table.suffix.lower() == ".csv" else _write_parquet)(rows, table)
        for part in parts:
            part.unlink(missing_ok=True)
        journal_path.unlink()
    return BatchReport(images=len(done) + len(kept), done=len(done), kept=len(kept), refused=count)


def predict_shard(
    table: Path,
    paths: Sequence[Path],
    predict: Callable[[Iterable[Path]], Iterator[Prediction]],
    *,
    shard: Shard,
    identity: str,
    advance: Callable[[int], None],
    refused: Callable[[Prediction], None],
) -> BatchReport:
    """Predict the images of a shard into a journal beside the table, for `predict_into`; see there for the rest.

    Killed, it goes on where it stopped. `refused` of the report counts those of this run alone.
    """
    count = 0

    def tell(prediction: Prediction) -> None:
        nonlocal count
        count += 1
        refused(prediction)

    part = table.with_name(f".{table.name}.{shard.index + 1}-of-{shard.count}.shard")
    with _locked(part, table) as journal:
        done, kept = _predict_missing(journal, paths, predict, _go_on(journal, identity), advance, tell, shard)
    return BatchReport(images=len(done) + len(kept), done=len(done), kept=len(kept), refused=count)


def _parts_of(table: Path) -> list[Path]:
    """Give the journals of shards that lie beside a table, whatever the number of shards."""
    name = re.compile(rf"\.{re.escape(table.name)}\.\d+-of-\d+\.shard")
    return sorted(path for path in table.parent.iterdir() if name.fullmatch(path.name))


@contextmanager
def _locked(path: Path, table: Path) -> Iterator[BinaryIO]:
    """Open a journal beside a table, for one process at a time."""
    if table.suffix.lower() not in SUFFIXES_OF_TABLES:
        raise DataError(f"{table}: expected a name ending in {' or '.join(SUFFIXES_OF_TABLES)}.")
    table.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path, fallback_to_soft=False).acquire(timeout=0)
    except Timeout:
        raise TableBusy(f"Another process is writing {table}. Let it finish, or choose another --output.") from None
    with lock, path.open("a+b") as journal:
        yield journal


def _go_on(journal: BinaryIO, identity: str) -> Keys:
    """Give the keys of what the journal holds, sorted; empty it when it is of another model, and cut off a torn line."""
    keys, whole = array("Q"), 0
    for key, start, size in _whole_lines(journal, identity):
        if start:
            keys.append(key)
        whole = start + size
    journal.truncate(whole)
    if not whole:
        journal.write(json.dumps(_head(identity)).encode() + b"\n")
    return np.sort(np.asarray(keys, dtype=np.uint64))


def _head(identity: str) -> dict[str, Any]:
    return {"journal": _JOURNAL_VERSION, "made_by": identity}


def _whole_lines(journal: BinaryIO, identity: str) -> Iterator[tuple[int, int, int]]:
    """Give key, start and size of each line up to a torn one, the head first; nothing of another model's journal."""
    start = 0
    journal.seek(0)
    for line in journal:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        if not line.endswith(b"\n") or (start == 0 and entry != _head(identity)):
            return
        yield int(entry["key"], 16) if start else 0, start, len(line)
        start += len(line)


def _take_over(journal: BinaryIO, known: Keys, parts: Sequence[Path], paths: Sequence[Path], identity: str) -> Keys:
    """Append what the journals of shards hold of the images that are there, in the images' order; give all keys, sorted."""
    if not parts:
        return known
    keys, places, taken = array("Q"), array("Q"), array("Q")
    with ExitStack() as stack:
        files = [stack.enter_context(part.open("rb")) for part in parts]
        for number, file in enumerate(files):
            for key, start, _ in itertools.islice(_whole_lines(file, identity), 1, None):
                keys.append(key)
                places.append(number << _BITS_OF_START | start)
        found = np.asarray(keys, dtype=np.uint64)
        order = np.argsort(found, kind="stable")
        found = found[order]
        for path in image_files(paths):
            key = _key(path)
            if _holds(known, key) or not _holds(found, key):
                continue
            place = places[order[np.searchsorted(found, np.uint64(key))]]
            file = files[place >> _BITS_OF_START]
            file.seek(place & ((1 << _BITS_OF_START) - 1))
            journal.write(file.readline())
            taken.append(key)
    return np.sort(np.concatenate([known, np.asarray(taken, dtype=np.uint64)]))


def _predict_missing(
    journal: BinaryIO,
    paths: Sequence[Path],
    predict: Callable[[Iterable[Path]], Iterator[Prediction]],
    known: Keys,
    advance: Callable[[int], None],
    refused: Callable[[Prediction], None],
    shard: Shard = WHOLE,
) -> tuple[Keys, Keys]:
    """Append what the journal lacks of a shard; give the keys of this run and those that were there."""
    done, kept = array("Q"), array("Q")
    keys_ahead: dict[Path, int] = {}

    def missing() -> Iterator[Path]:
        for path in image_files(paths, shard):
            key = _key(path)
            if _holds(known, key):
                kept.append(key)
                advance(1)
            else:
                keys_ahead[path] = key
                yield path

    last = time.monotonic()
    try:
        for prediction in predict(missing()):
            key = keys_ahead.pop(prediction.file)
            journal.write(_line(key, prediction))
            done.append(key)
            advance(1)
            if prediction.probabilities is None:
                refused(prediction)
            if time.monotonic() - last > SECONDS_BETWEEN_WRITES:
                journal.flush()
                last = time.monotonic()
    finally:
        journal.flush()
        os.fsync(journal.fileno())
    return np.asarray(done, dtype=np.uint64), np.asarray(kept, dtype=np.uint64)


def made_by(model: Path, config: DataSettings) -> str:
    """Give a hash of what the predictions of a model file depend on: its content, the rule beside it, the settings."""
    digest = hashlib.sha256(model.read_bytes())
    rule = model.with_name(RULE_FILE)
    if rule.is_file():
        digest.update(rule.read_bytes())
    digest.update(json.dumps([config.max_image_pixels, config.min_image_side]).encode())
    return digest.hexdigest()


def _key(path: Path) -> int:
    """Give 64 bits that say which file this is and whether it has changed.

    Two of a million files get the same by chance once in 37 million times.
    """
    try:
        stat = path.stat()
        content = f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    except OSError:  # gone, or not to be read: its prediction says so
        content = f"{path.absolute()}\0"
    return int.from_bytes(hashlib.blake2b(os.fsencode(content), digest_size=8).digest(), "big")


def _holds(keys: Keys, key: int) -> bool:
    place = int(np.searchsorted(keys, np.uint64(key)))
    return place < len(keys) and int(keys[place]) == key


def _line(key: int, prediction: Prediction) -> bytes:
    entry: dict[str, Any] = {"key": f"{key:016x}", "file": os.fsdecode(prediction.file)}
    if prediction.probabilities is None:
        entry["refused"] = prediction.refused
    else:
        entry["probabilities"] = [float(probability) for probability in prediction.probabilities]
        entry |= {"label": prediction.label, "decision": prediction.decision, "reason": prediction.reason}
    return json.dumps(entry).encode() + b"\n"


class _Rows:
    """The journal's rows of the images that are there now, read from the disk each time."""

    def __init__(self, journal: BinaryIO, wanted: Keys) -> None:
        self._journal = journal
        self._wanted = wanted

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._journal.seek(0)
        next(self._journal)
        for line in self._journal:
            entry = json.loads(line)
            if _holds(self._wanted, int(entry["key"], 16)):
                yield entry


def _write_refused(rows: _Rows, path: Path) -> int:
    count = 0
    with atomic.replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "reason"])
        for entry in rows:
            if "refused" in entry:
                count += 1
                writer.writerow([cell(_shown(entry["file"])), cell(entry["refused"])])
    if not count:
        path.unlink()
    return count


def _write_csv(rows: _Rows, path: Path) -> None:
    with atomic.replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(csv_row(entry) for entry in rows if "refused" not in entry)


def csv_row(entry: dict[str, Any]) -> list[str]:
    """Give a row of the CSV table; see `COLUMNS`. A name that a spreadsheet would compute gets an apostrophe before it."""
    file = _shown(entry["file"])
    numbers = [f"{probability:.6f}" for probability in entry["probabilities"]]
    return [cell(Path(file).stem), *numbers, entry["label"], entry["decision"], entry["reason"], cell(file)]


def entry_of(prediction: Prediction) -> dict[str, Any]:
    """Give a prediction as `csv_row` takes it."""
    entry: dict[str, Any] = json.loads(_line(0, prediction))
    return entry


def _write_parquet(rows: _Rows, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {name: pa.float32() if name in LABELS else pa.string() for name in COLUMNS}
    schema = pa.schema(list(kinds.items()))
    usable = (entry for entry in rows if "refused" not in entry)
    with atomic.replacing(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        while batch := list(itertools.islice(usable, ROWS_AT_ONCE)):
            columns: dict[str, list[Any]] = {
                "image": [Path(_shown(entry["file"])).stem for entry in batch],
                **{label: [entry["probabilities"][place] for entry in batch] for place, label in enumerate(LABELS)},
                **{name: [entry[name] for entry in batch] for name in ("label", "decision", "reason")},
                "file": [_shown(entry["file"]) for entry in batch],
            }
            writer.write_table(pa.table(columns, schema=schema))


def _shown(file: str) -> str:
    """Give a name that can be written as UTF-8, also of a file whose name is none."""
    return file.encode(errors="backslashreplace").decode()
