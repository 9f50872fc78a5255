"""A file of JSON lines that only grows."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from skinlesion.foundation import atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record

Row = TypeVar("Row", bound=Record)

REMEDY: Final = "Correct the line or restore the file from a back-up, or let `skinlesion models restore` write it anew."

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lines(Generic[Row]):
    """What a file holds.

    Attributes:
        records: of the lines that can be read, oldest first.
        damage: a sentence for each line that cannot, or for the file; who only shows what there is goes on, others refuse.
    """

    records: tuple[Row, ...]
    damage: tuple[str, ...]

    def all(self) -> list[Row]:
        """Return the records. Raises DataError if a line cannot be read."""
        if self.damage:
            raise DataError(" ".join(self.damage))
        return list(self.records)


def append(path: Path, *records: Record) -> None:
    """Add a line for each record and bring them to the disk, all of them, or raise OSError. The caller holds the lock of who writes the file.

    What a power cut left of a line that was being written goes.
    """
    if not records:
        return
    content = path.read_bytes() if path.exists() else b""
    end, tail = _last_line(content)
    line = b"".join(record.line().encode() + b"\n" for record in records)
    if tail and not _is_torn(tail):  # a whole line, which somebody's editor left without a line break
        end, line = len(content), b"\n" + line
    elif tail:
        log.warning("%s: the last line is not whole (%d bytes) and was removed", path, len(tail))
    atomic.append(path, line, after=end)


def read(path: Path, of_line: Callable[[bytes, Path, int], Row], remedy: str = REMEDY) -> Lines[Row]:
    """Return what a file holds, nothing if there is none. remedy: what a person does about a file that cannot be read.

    What a power cut left of the last line is left out and logged: nobody was told that it had been written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Lines((), (f"{path} is a link to nothing. {remedy}",) if path.is_symlink() else ())
    except OSError as error:
        return Lines((), (f"{path} cannot be read ({error.strerror}); expected a file of JSON lines. {remedy}",))
    end, tail = _last_line(content)
    if tail and _is_torn(tail):
        log.warning("%s: the last line is not whole and is left out", path)
        content = content[:end]
    found: list[Row] = []
    damage: list[str] = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        if line.strip():
            try:
                found.append(of_line(line, path, number))
            except DataError as error:
                damage.append(str(error))
    return Lines(tuple(found), tuple(damage))


def _last_line(content: bytes) -> tuple[int, bytes]:
    """Return where the last line begins and what it holds; nothing if the file ends with a line break."""
    end = content.rfind(b"\n") + 1
    return end, content[end:]


def _is_torn(line: bytes) -> bool:
    """Return whether this is the beginning of a line: what begins with a brace and is cut off is no JSON."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False
