"""A file of JSON lines that only grows."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from skinlesion.foundation import atomic

log = logging.getLogger(__name__)


def append(path: Path, entry: dict[str, Any]) -> None:
    """Add a line and bring it to the disk. The caller holds the registry's lock.

    What a power cut left of a line that was being written stays where it is, and the new line begins after it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        os.write(descriptor, b"\n" + line if torn else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        atomic.flush(path.parent)


def read(path: Path) -> list[dict[str, Any]]:
    """Give the entries, oldest first; none where there is no file. What is no whole entry is left out and told."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            entries.append(entry)
        else:
            log.warning("%s: line %d is not whole and is left out", path, number)
    return entries
