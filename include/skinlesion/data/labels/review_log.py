"""What people said who looked at images: who, when, what, why. The history only grows; labels/review.csv follows from it.

Several people may write at the same time, from several machines: each line is written under a lock and flushed before
anybody is told that it is noted. Nothing here imports pandas, since the page in Airflow's API server writes the history.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, Literal

from skinlesion.data.images.formats import SUFFIXES
from skinlesion.foundation import append_log, atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.record import Record
from skinlesion.foundation.spreadsheet import cell

What = Literal["labelled", "confirmed", "cannot tell", "skipped", "undone"]

WITH_DIAGNOSIS: Final = ("labelled", "confirmed")
"""What gives an image its diagnosis; after `cannot tell` the tables' diagnosis counts."""

LONGEST_REASON: Final = 500
"""Characters."""

TABLE_COLUMNS: Final = ("image", "dx", "said", "by", "at", "why", "entry")

_WAIT: Final = 20.0  # seconds for another writer, who needs a few milliseconds
_KEPT: Final = 1 << 18
"""Lines that a process keeps as they were read: the page reads the history with each answer."""
_REMEDY: Final = "Correct the line or restore the file from a back-up: it has what people said of images."


class ReviewedMeanwhile(DataError):
    """Somebody else said something of the image since the person saw it."""


class ReviewEntry(Record):
    """One line of the history of reviews.

    Attributes:
        number: 1, 2, ...: its place in the history.
        at: when, ISO 8601, UTC, seconds.
        by: who: a user's name.
        what: `labelled` with another diagnosis than the tables', `confirmed`, `cannot tell`, `skipped` (which says nothing of the
            image), or `undone`.
        images: the SHA-256 of each image's file when the person looked at it, by the image's name.
        dx: the diagnosis; empty without one.
        before: what the image had then.
        why: in the person's words; may be empty.
        undoes: the number of the entry that is undone.
    """

    remedy: ClassVar[str] = _REMEDY

    number: int
    at: str
    by: str
    what: What
    images: dict[str, str]
    dx: str = ""
    before: str = ""
    why: str = ""
    undoes: int | None = None


def read(dataset: Path) -> list[ReviewEntry]:
    """Return the entries, oldest first. Raises DataError if a line does not fit or one is missing."""
    path = layout.review_history(dataset)
    entries = append_log.read(path, _entry_of, _REMEDY).all()
    for place, entry in enumerate(entries, start=1):
        if entry.number != place:
            raise DataError(f"{path}: expected entry {place}, found entry {entry.number}. {_REMEDY}")
    return entries


@lru_cache(maxsize=_KEPT)
def _entry_of(line: bytes, path: Path, number: int) -> ReviewEntry:
    return ReviewEntry.of_line(line, path, number)


def standing(entries: Iterable[ReviewEntry]) -> dict[str, ReviewEntry]:
    """Return what counts of each image, by its name: the last entry that says something of it and was not undone."""
    entries = list(entries)
    undone = {entry.undoes for entry in entries}
    says = (entry for entry in entries if entry.what not in ("skipped", "undone") and entry.number not in undone)
    return {image: entry for entry in says for image in entry.images}


def diagnosed(dataset: Path) -> dict[str, ReviewEntry]:
    """Return the entry that gives each image its diagnosis, of those that people gave one."""
    return {image: entry for image, entry in standing(read(dataset)).items() if entry.what in WITH_DIAGNOSIS}


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
) -> ReviewEntry:
    """Add what a person says of images, and return the entry once it is on the disk.

    seen: the number of the entry that counted when the person looked at the first image, 0 for none. Raises ReviewedMeanwhile
    if another counts now; None asks for nothing.
    """
    with locked(dataset, "review", wait=_WAIT):
        entries = read(dataset)
        now = standing(entries).get(next(iter(images)))
        if now is not None and seen is not None and seen != now.number:
            raise ReviewedMeanwhile(
                f"{now.by} {said(now)} at {now.at[11:16]} UTC, after you opened this image. What you said was not noted. "
                "Look at it again: you may say otherwise."
            )
        entry = ReviewEntry(
            number=len(entries) + 1,
            at=_now(),
            by=plain(by),
            what=what,
            images=dict(images),
            dx=dx,
            before=before,
            why=plain(why),
        )
        _add(dataset, entries, entry)
        return entry


def note_all(dataset: Path, by: str, said: Sequence[Mapping[str, object]]) -> int:
    """Add what people said elsewhere, each the fields of an entry from `by` on, in one step; return how many are new.

    What counts already, by the same person and with the same words, is not added again.
    """
    with locked(dataset, "review", wait=_WAIT):
        entries = read(dataset)
        counts = standing(entries)
        new: list[ReviewEntry] = []
        for fields in said:
            words = {name: plain(str(fields.get(name, default))) for name, default in (("by", by), ("why", ""))}
            entry = ReviewEntry.model_validate({**fields, **words, "number": len(entries) + len(new) + 1, "at": _now()})
            before = counts.get(next(iter(entry.images)))
            if before is None or any(
                getattr(before, name) != getattr(entry, name) for name in ("by", "what", "dx", "why")
            ):
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
        undone = ReviewEntry(
            number=len(entries) + 1, at=_now(), by=plain(by), what="undone", images=entry.images, undoes=number
        )
        _add(dataset, entries, undone)
        return undone


def last_of(entries: Sequence[ReviewEntry], by: str) -> ReviewEntry | None:
    """Return what the person said last and may undo."""
    undone = {entry.undoes for entry in entries}
    own = (one for one in reversed(entries) if one.by == by and one.what != "undone" and one.number not in undone)
    return next(own, None)


def write_table(dataset: Path) -> None:
    """Write labels/review.csv anew from the history, if there is one. Raises DataError where that would lose somebody's own rows."""
    if layout.review_history(dataset).exists():
        with locked(dataset, "review", wait=_WAIT):
            _write_table(dataset, read(dataset))


def table_text(entries: Iterable[ReviewEntry]) -> str:
    """Return the table of the images that people gave a diagnosis, as CSV; empty without any."""
    counts = {image: entry for image, entry in standing(entries).items() if entry.what in WITH_DIAGNOSIS}
    lines = [_line(image, counts[image]) for image in sorted(counts)]
    return "".join([_csv(TABLE_COLUMNS), *lines]) if lines else ""


def said(entry: ReviewEntry) -> str:
    """Return what a person said, as the end of a sentence that begins with their name."""
    match entry.what:
        case "labelled":
            return f"said {entry.dx}"
        case "confirmed":
            return f"confirmed {entry.dx}"
        case "cannot tell":
            return "could not tell"
        case "skipped":
            return "skipped it"
    return f"took entry {entry.undoes} back"


def plain(why: str) -> str:
    """Return a reason as one line of bounded length, without control characters."""
    letters = (" " if unicodedata.category(letter).startswith("C") else letter for letter in why)
    return " ".join("".join(letters).split())[:LONGEST_REASON]


def _add(dataset: Path, entries: list[ReviewEntry], *new: ReviewEntry) -> None:
    """Add new entries to those that are there, and write the table anew. The caller holds the lock."""
    append_log.append(layout.review_history(dataset), *new)
    _write_table(dataset, [*entries, *new])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write_table(dataset: Path, entries: list[ReviewEntry]) -> None:
    """Write the table, which ingest also does: a process that ends in between leaves it to that."""
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
    text = table_text(entries)
    if text:
        atomic.write_if_changed(path, text.encode())
    else:
        path.unlink(missing_ok=True)


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
