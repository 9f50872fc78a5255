"""What people said who looked at images: who, when, what, why. The history only grows; labels/review.csv follows from it.

Several people may write at the same time, from several machines: each line is written under a lock and flushed before
anybody is told that it is noted. Nothing here imports pandas, since the page in Airflow's API server writes the history.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.images.formats import SUFFIXES
from skinlesion.data.labels.readings import REMEDY, Reading, ReviewEntry, What, live, meaning, readings, said
from skinlesion.foundation import append_log, atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.spreadsheet import cell

LONGEST_REASON: Final = 500
"""Characters."""

TABLE_COLUMNS: Final = ("image", "dx", "said", "by", "at", "why", "entry")

_WAIT: Final = 20.0  # seconds for another writer, who needs a few milliseconds
_KEPT: Final = 1 << 18
"""Lines that a process keeps as they were read: the page reads the history with each answer."""


class ReviewedMeanwhile(DataError):
    """Somebody else said something of the image since the person saw it."""


class Reviews(NamedTuple):
    """The entries, oldest first, and what people together say of each image, by its name (`readings`)."""

    entries: list[ReviewEntry]
    of_image: dict[str, Reading]


def read(dataset: Path) -> list[ReviewEntry]:
    """Return the entries, oldest first. Raises DataError if a line does not fit or one is missing."""
    path = layout.review_history(dataset)
    entries = append_log.read(path, _entry_of, REMEDY).all()
    for place, entry in enumerate(entries, start=1):
        if entry.number != place:
            raise DataError(f"{path}: expected entry {place}, found entry {entry.number}. {REMEDY}")
    return entries


def read_reviews(dataset: Path) -> Reviews:
    """Return the history and what follows from it. Raises DataError as `read` does."""
    entries = read(dataset)
    return Reviews(entries, readings(entries))


@lru_cache(maxsize=_KEPT)
def _entry_of(line: bytes, path: Path, number: int) -> ReviewEntry:
    return ReviewEntry.of_line(line, path, number)


def note(
    dataset: Path,
    by: str,
    what: What,
    images: Mapping[str, str],
    *,
    dx: str = "",
    before: str = "",
    why: str = "",
    seen: int | None = None,
    readers: int = 1,
) -> ReviewEntry:
    """Add what a person says of images, and return the entry once it is on the disk.

    seen: `Reading.newest_shown` of the first image when the person looked at it. Raises ReviewedMeanwhile if people see another
    answer now; None asks for nothing. readers: the setting `review_readers`.
    """
    with locked(dataset, "review", wait=_WAIT):
        entries = read(dataset)
        now = readings(entries).get(next(iter(images)), Reading())
        if seen is not None and now.newest_shown not in (0, seen):
            raise ReviewedMeanwhile(_meanwhile(now))
        fields = {"what": what, "images": dict(images), "dx": dx, "before": before}
        entry = _entry(len(entries) + 1, by, why, readers, fields)
        _add(dataset, entries, entry)
        return entry


def _meanwhile(now: Reading) -> str:
    if now.counts is None or now.open:
        return (
            "Two readers have answered since you opened this image, and they disagree. What you said was not noted. Look at it "
            "again: what you say settles it."
        )
    return (
        f"{now.by} {said(now.counts)} at {now.counts.at[11:16]} UTC, after you opened this image. What you said was not noted. "
        "Look at it again: you may say otherwise."
    )


def note_all(dataset: Path, by: str, said: Sequence[Mapping[str, object]], readers: int = 1) -> int:
    """Add what people said elsewhere, each the fields of an entry from `by` on, in one step; return how many are new.

    What a person said of an image last, with the same words, is not added again. readers: the setting `review_readers`.
    """
    with locked(dataset, "review", wait=_WAIT):
        entries = read(dataset)
        last = {(one.by, image): one for one in live(entries) for image in one.images}
        new: list[ReviewEntry] = []
        for fields in said:
            number, who, why = len(entries) + len(new) + 1, str(fields.get("by", by)), str(fields.get("why", ""))
            entry = _entry(number, who, why, readers, fields)
            key = (entry.by, next(iter(entry.images)))
            before = last.get(key)
            if before is None or (meaning(before), before.why) != (meaning(entry), entry.why):
                last[key] = entry
                new.append(entry)
        _add(dataset, entries, *new)
        return len(new)


def undo(dataset: Path, by: str, number: int) -> ReviewEntry:
    """Take back what the person said in entry `number`, and return the entry that notes it. What counted before counts again.

    Raises DataError if it is not theirs, or undone.
    """
    with locked(dataset, "review", wait=_WAIT):
        entries = read(dataset)
        entry = next((one for one in entries if one.number == number), None)
        if entry is None or entry.by != by or entry.what == "undone":
            raise DataError(
                f"Entry {number} is nothing that you said, so it was not undone. Say of the image what it is."
            )
        if any(one.undoes == number for one in entries):
            raise DataError(f"Entry {number} was undone before.")
        undone = _entry(len(entries) + 1, by, "", 1, {"what": "undone", "images": entry.images, "undoes": number})
        _add(dataset, entries, undone)
        return undone


def last_of(entries: Sequence[ReviewEntry], by: str) -> ReviewEntry | None:
    """Return what the person said last and may undo."""
    undone = {entry.undoes for entry in entries}
    own = (one for one in reversed(entries) if one.by == by and one.what != "undone" and one.number not in undone)
    return next(own, None)


def write_table(dataset: Path) -> dict[str, Reading]:
    """Write labels/review.csv anew from the history, if there is one; return what people say of each image, by its name.

    Raises DataError where that would lose somebody's own rows.
    """
    if not layout.review_history(dataset).exists():
        return {}
    with locked(dataset, "review", wait=_WAIT):
        return _write_table(dataset, read(dataset))


def plain(why: str) -> str:
    """Return a reason as one line of bounded length, without control characters."""
    letters = (" " if unicodedata.category(letter).startswith("C") else letter for letter in why)
    return " ".join("".join(letters).split())[:LONGEST_REASON]


def _add(dataset: Path, entries: list[ReviewEntry], *new: ReviewEntry) -> None:
    """Add new entries to those that are there, and write the table anew. The caller holds the lock."""
    append_log.append(layout.review_history(dataset), *new)
    _write_table(dataset, [*entries, *new])


def _entry(number: int, by: str, why: str, readers: int, fields: Mapping[str, object]) -> ReviewEntry:
    """Return the entry of what somebody says now. fields: the others."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    of_now = {
        "number": number,
        "at": at,
        "by": plain(by),
        "why": plain(why),
        "readers": readers,
        "format_version": readers,
    }
    return ReviewEntry.model_validate({**fields, **of_now})


def _write_table(dataset: Path, entries: list[ReviewEntry]) -> dict[str, Reading]:
    """Write the table of the images that people gave a diagnosis or said to be none; return what they say of each image.

    Of several who agree it has the one whose answer settled it. Ingest also writes it: a process that ends in between leaves it to that.
    """
    path = layout.review_table(dataset)
    if path.exists():
        own = {_csv(TABLE_COLUMNS), *(_line(image, entry) for entry in entries for image in entry.images)}
        rows = [f"{row}\n" for row in path.read_text(encoding="utf-8", errors="replace").split("\n") if row]
        foreign = next((number for number, row in enumerate(rows, start=1) if row not in own), None)
        if foreign is not None:
            raise DataError(
                f"{path}, row {foreign} is not from {layout.review_history(dataset).name}, from which this table is written anew. "
                "Give your own table another name; bring what was labelled elsewhere with `skinlesion review import`."
            )
    found = readings(entries)
    said_of = {
        image: one.counts if one.counts is not None and one.counts.dx else one.wrong for image, one in found.items()
    }
    if lines := [_line(image, entry) for image in sorted(said_of) if (entry := said_of[image]) is not None]:
        atomic.write_if_changed(path, "".join([_csv(TABLE_COLUMNS), *lines]).encode())
    else:
        path.unlink(missing_ok=True)
    return found


def _line(image: str, entry: ReviewEntry) -> str:
    return _row(image, entry.dx, entry.what, entry.by, entry.at, entry.why, entry.number)


@lru_cache(maxsize=_KEPT)
def _row(image: str, dx: str, what: str, by: str, at: str, why: str, number: int) -> str:
    # A table's reader takes the suffix of an image file off a name; this one is part of it.
    name = f"{image}.jpg" if Path(image).suffix.lower() in SUFFIXES else image
    return _csv((name, dx, what, cell(by), at, cell(why), str(number)))


def _csv(row: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(row)
    return line.getvalue()
