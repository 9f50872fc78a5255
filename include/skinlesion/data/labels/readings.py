"""What people say of an image together: one answer is enough, or two readers agree, or a third decides.

An entry of the history notes how many readers were asked for when it was said (`review_readers`), and counts by that rule
whatever the setting is later. Where one was asked for, the last word counts. Where two were, an answer waits until another
person gives the same; if the second says otherwise, the third decides, who sees both: arbitration, as in Geijer and Geijer,
"Added value of double reading in diagnostic radiology" (Insights into Imaging 2018, table 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final, Literal, NamedTuple

from skinlesion.foundation.record import Record
from skinlesion.foundation.wording import counted

What = Literal["labelled", "confirmed", "wrong", "cannot tell", "skipped", "undone"]

REMEDY: Final = "Correct the line or restore the file from a back-up: it has what people said of images."


class ReviewEntry(Record):
    """One line of the history of reviews.

    Attributes:
        number: 1, 2, ...: its place in the history.
        at: when, ISO 8601, UTC, seconds.
        by: who: a user's name.
        what: `labelled` with another diagnosis than the tables', `confirmed`, `wrong` (the image is not `before`, and what it is
            was not said), `cannot tell` (then the tables' diagnosis counts), `skipped` (which says nothing of the image), or
            `undone`.
        images: the SHA-256 of each image's file when the person looked at it, by the image's name.
        dx: the diagnosis; empty without one.
        before: what the image had then.
        why: in the person's words; may be empty.
        undoes: the number of the entry that is undone.
        readers: how many readers were asked for. With two the entry has format 2: an older program would take it for the label.
    """

    current_format: ClassVar[int] = 2
    remedy: ClassVar[str] = REMEDY

    number: int
    at: str
    by: str
    what: What
    images: dict[str, str]
    dx: str = ""
    before: str = ""
    why: str = ""
    undoes: int | None = None
    readers: int = 1


class Reading(NamedTuple):
    """What people who looked say of an image.

    Attributes:
        agreed: the answers that count, oldest first; all of them say the same.
        open: the answers that do not count yet, oldest first: one waits for a second reader, two disagree and wait for a third.
        wrong: the entry that says what the image is not, as long as nobody said since what it is.
    """

    agreed: tuple[ReviewEntry, ...] = ()
    open: tuple[ReviewEntry, ...] = ()
    wrong: ReviewEntry | None = None

    @property
    def counts(self) -> ReviewEntry | None:
        """The entry that settled it, None while nothing counts."""
        return self.agreed[-1] if self.agreed else None

    @property
    def by(self) -> str:
        """Who says what counts."""
        return " and ".join(one.by for one in self.agreed)

    @property
    def people(self) -> set[str]:
        """Who need not be asked: those whose answer waits, else those whose answer counts."""
        return {one.by for one in self.open or self.agreed}

    @property
    def is_settled(self) -> bool:
        """Whether nobody is asked any more. Of an image that is not what its label says, somebody may still know what it is."""
        return bool(self.agreed) and not self.open and self.agreed[-1].what != "wrong"

    @property
    def newest_shown(self) -> int:
        """The number of the newest answer that people see, 0 for none: who reads second does not see the first's."""
        shown = (*self.agreed, *(self.open if len(self.open) > 1 else ()))
        return max((one.number for one in shown), default=0)

    def after(self, image: str, entry: ReviewEntry) -> Reading:
        """Return what people say once this entry has been added."""
        others: tuple[ReviewEntry, ...] = ()
        same: tuple[ReviewEntry, ...] = ()
        if entry.readers > 1:
            # Who answers again has one answer, and who looked at another file under this name said nothing of this one.
            others = tuple(one for one in self.open if one.by != entry.by and one.images[image] == entry.images[image])
        if entry.readers > 1 or entry.what == "wrong":  # nobody who called it wrong is asked what it is
            same = tuple(one for one in others or self.agreed if meaning(one) == meaning(entry))
        if entry.readers > 1 and not same and len(others) < 2:
            return self._replace(open=(*others, entry))
        wrong = entry if entry.what == "wrong" else None if entry.dx else self.wrong
        return Reading((*(one for one in same if one.by != entry.by), entry), (), wrong)


def readings(entries: Iterable[ReviewEntry]) -> dict[str, Reading]:
    """Return what people say of each image, by its name."""
    found: dict[str, Reading] = {}
    for entry in live(entries):
        for image in entry.images:
            found[image] = found.get(image, Reading()).after(image, entry)
    return found


def diagnosed(found: Mapping[str, Reading]) -> dict[str, ReviewEntry]:
    """Return the entry that gives each image its diagnosis, of those that people gave one; `by` names all who agree. found: `readings`."""
    return {
        image: one.counts.model_copy(update={"by": one.by})
        for image, one in found.items()
        if one.counts is not None and one.counts.dx
    }


def called_wrong(found: Mapping[str, Reading]) -> dict[str, ReviewEntry]:
    """Return the entry that says what each image is not, of those of which nobody said since what they are. found: `readings`."""
    return {image: one.wrong for image, one in found.items() if one.wrong is not None}


def live(entries: Iterable[ReviewEntry]) -> list[ReviewEntry]:
    """Return the entries that say something of an image and were not undone."""
    entries = list(entries)
    undone = {entry.undoes for entry in entries}
    return [entry for entry in entries if entry.what not in ("skipped", "undone") and entry.number not in undone]


def hidden_from(name: str, entries: Iterable[ReviewEntry], found: Mapping[str, Reading]) -> set[int]:
    """Return the numbers of the entries that this person is not shown yet, so that they look for themselves.

    These are others' answers to a question that two readers are asked, until both have answered. found: `readings`.
    """

    def waits(entry: ReviewEntry, reading: Reading) -> bool:
        counts = reading.counts.number if reading.counts is not None else 0
        return entry.number > counts and len(reading.open) < 2

    others = (one for one in entries if one.readers > 1 and one.by != name and one.what != "skipped")
    return {entry.number for entry in others if any(waits(entry, found.get(one, Reading())) for one in entry.images)}


def waiting_readers(found: Mapping[str, Reading]) -> tuple[int, int]:
    """Return how many images wait for a second reader, and how many for a third because two disagree. found: `readings`."""
    waits = [len(one.open) for one in found.values()]
    return waits.count(1), waits.count(2)


def sentence_of_waiting(found: Mapping[str, Reading]) -> str:
    """Return how many images wait for another reader, as a sentence; empty if none does. found: `readings`."""
    second, third = waiting_readers(found)
    if not second + third:
        return ""
    return (
        f"{counted(second, 'image waits', 'images wait')} for a second reader, and {third:,} for a third because two disagree; "
        "until then what people said of them does not count."
    )


def said(entry: ReviewEntry) -> str:
    """Return what a person said, as the end of a sentence that begins with their name."""
    match entry.what:
        case "labelled":
            return f"said {entry.dx}"
        case "confirmed":
            return f"confirmed {entry.dx}"
        case "wrong":
            return f"said that it is not {entry.before}"
        case "cannot tell":
            return "could not tell"
        case "skipped":
            return "skipped it"
    return f"took entry {entry.undoes} back"


def meaning(entry: ReviewEntry) -> str:
    """Return what two entries have in common that say the same of an image."""
    return entry.dx or said(entry)
