"""A file of JSON lines that only grows."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from skinlesion.foundation import atomic
from skinlesion.foundation.record import Record

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


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and content of each line that is whole JSON, oldest first; nothing without a file.

    What a power cut left of a line is left out and logged.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError:
            log.warning("%s: line %d is not whole and is left out", path, number)
        else:
            yield number, line
