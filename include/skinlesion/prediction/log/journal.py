"""The files of the log: journals, lines of JSON that grow while the server answers, and the Parquet files that they become.

What a journal holds survives the end of its process, however that ends. Its last line may be cut off; nobody got the answer
that belongs to it. Once a journal is closed it is stored as a Parquet file of the same name, whole or not at all, and removed:
killed in between, both are there, and whoever reads the log takes an entry once.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.json

from skinlesion.foundation.lock import locked
from skinlesion.foundation.tables import empty, write_table
from skinlesion.prediction.log.entries import COLUMNS

log = logging.getLogger(__name__)

LOCK_WAIT: Final = 60.0

_SCHEMA: Final = pa.schema(
    [(name, pa.string() if dtype == "str" else pa.from_numpy_dtype(dtype)) for name, dtype in COLUMNS.items()]
)


def journals(folder: Path) -> Path:
    """Return the folder of the journals."""
    return folder / "journal"


def parts(folder: Path) -> Path:
    """Return the folder of the Parquet files."""
    return folder / "parts"


class Journal:
    """A journal that is open for writing. Its process holds a lock on it, which ends with the process.

    Attributes:
        path: of the file.
        day: on which it was begun (UTC).
        size: bytes that are written.
        entries: how many are written.
    """

    def __init__(self, folder: Path) -> None:
        """Begin one. Raises OSError."""
        self.day = datetime.now(UTC).date()
        self.path = journals(folder) / f"{self.day}-{secrets.token_hex(8)}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.size = self.entries = 0
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def append(self, lines: bytes, entries: int) -> None:
        """Add whole lines, or raise OSError and leave the file as it was: the disk may be full in the middle."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(lines)
        self.entries += entries

    def close(self) -> None:
        """Bring what is written to the disk, and let others store it."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Hold the lock of a file of a process that has ended. Yields False if the process is alive or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def read_journal(path: Path) -> pd.DataFrame:
    """Return the entries of a journal, `COLUMNS`. A line that is damaged is left out with a warning. Raises OSError."""
    whole = path.read_bytes().rpartition(b"\n")[0]
    lines = [line for line in whole.split(b"\n") if not line.isspace() and line]  # of cases that were removed
    try:
        return _parsed(lines)
    except (pa.ArrowException, pd.errors.IntCastingNaNError):
        sound = [line for line in lines if _is_sound(line)]
        log.warning("%s: %d of %d lines are damaged and left out", path, len(lines) - len(sound), len(lines))
        return _parsed(sound)


def _parsed(lines: list[bytes]) -> pd.DataFrame:
    if not lines:
        return empty(COLUMNS)
    options = pa.json.ParseOptions(explicit_schema=_SCHEMA, unexpected_field_behavior="ignore")
    # Larger than any line, since Arrow refuses a line that is longer than a block.
    content = pa.json.read_json(io.BytesIO(b"\n".join(lines)), pa.json.ReadOptions(block_size=1 << 24), options)
    table: pd.DataFrame = content.select(list(COLUMNS)).to_pandas()
    return table.astype(dict(COLUMNS))


def _is_sound(line: bytes) -> bool:
    try:
        return not _parsed([line]).empty
    except (pa.ArrowException, pd.errors.IntCastingNaNError, ValueError):
        return False


def store_closed(folder: Path) -> None:
    """Store each journal whose process has closed it or has ended as a Parquet file. Raises OSError; what is left stays."""
    if not journals(folder).is_dir():
        return
    with locked(folder, "log", wait=LOCK_WAIT, where="this log"):
        for path in sorted(journals(folder).glob("*.jsonl")):
            with taken(path) as is_mine:
                if is_mine:
                    table = read_journal(path)
                    if not table.empty:
                        write_table(part_of(folder, path), table, COLUMNS)
                    path.unlink()


def part_of(folder: Path, journal: Path) -> Path:
    """Return the path of the Parquet file that a journal becomes."""
    return parts(folder) / f"{journal.stem}.parquet"


def blank(path: Path, case: str) -> int:
    """Overwrite the entries of a case in a journal with blanks, which readers skip; return their number.

    It works on a journal that a server is writing: that only adds lines behind those that are there.
    """
    removed = 0
    with suppress(FileNotFoundError), path.open("r+b") as file:
        position = 0
        for line in file.read().rpartition(b"\n")[0].split(b"\n"):
            if b'"' + case.encode() + b'"' in line and json.loads(line)["case"] == case:
                file.seek(position)
                file.write(b" " * len(line))
                removed += 1
            position += len(line) + 1
        file.flush()
        os.fsync(file.fileno())
    return removed
