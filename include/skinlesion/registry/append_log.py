"""A file of JSON lines that only grows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record

Row = TypeVar("Row", bound=Record)

log = logging.getLogger(__name__)


def append(path: Path, record: Record) -> None:
    """Add a line and bring it to the disk. The caller holds the registry's lock.

    What a power cut left of a line that was being written stays where it is, and the new line begins after it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = record.line().encode() + b"\n"
        os.write(descriptor, b"\n" + line if torn else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        atomic.flush(path.parent)


def records(path: Path, of_line: Callable[[bytes, Path, int], Row]) -> Iterator[Row]:
    """Yield the record of each line, oldest first; nothing without a file. Raises DataError if a line does not fit.

    What a power cut left of a line, which is no whole JSON, is left out and logged.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, start=1):
        try:
            yield of_line(line, path, number)
        except DataError:
            if _is_whole(line):
                raise
            log.warning("%s: line %d is not whole and is left out", path, number)


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
