"""The queue of images that people should look at, as it lies on disk. The page in Airflow reads it, so nothing here imports pandas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar, Final

from skinlesion.foundation import layout
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.foundation.regular_file import read_file

LARGEST_THUMBNAIL: Final = 4_000_000
"""Bytes; a picture of the queue has a hundredth of that."""

_CONTENT: Final = re.compile(r"[0-9a-f]{64}")


class Picture(RecordPart):
    """An image beside another one, with what the labels say; content: the SHA-256 of its file."""

    image: str
    content: str
    dx: str


class Asked(RecordPart):
    """An image that a person should look at.

    Attributes:
        image: its name.
        content: the SHA-256 of its file.
        dx: what the labels say; empty for nothing.
        label: the class of that.
        split: its side; empty for an image that is set aside.
        suggested: the likeliest diagnosis otherwise; empty if nothing suggests one.
        reason: why it is asked, in words.
        probabilities: of the diagnoses by models that saw no picture of the lesion, or of the classes by a version; the likeliest
            first; empty where none was asked.
        version: the version that was in service and said so; None for the models.
        lesion: the lesion's other pictures.
        neighbours: the pictures of other lesions that the backbone finds most alike, the most alike first.
    """

    image: str
    content: str
    dx: str
    label: str
    split: str
    suggested: str
    reason: str
    probabilities: dict[str, float]
    lesion: tuple[Picture, ...]
    neighbours: tuple[Picture, ...]
    version: int | None = None


class Choice(RecordPart):
    """A diagnosis that people may give: as the labels have it, in words, and its class."""

    dx: str
    title: str
    label: str


class ReviewQueue(Record):
    """The queue.

    Attributes:
        at: when it was made, ISO 8601, UTC.
        key: names what it was made from.
        labelled: how many images have a diagnosis; doubted: how many of them are doubted, of which the queue has the first.
        waiting: how many images have none, of which the queue has those whose label is worth most.
        choices: the diagnoses, the most frequent first.
        asked: the images, in the order in which people should look at them.
    """

    remedy: ClassVar[str] = "Remove it: `skinlesion review list`, or the next night, makes it anew."

    at: str
    key: str
    labelled: int
    doubted: int
    waiting: int
    choices: tuple[Choice, ...]
    asked: tuple[Asked, ...]


def path(dataset: Path) -> Path:
    """Return the path of the queue."""
    return layout.review_queue(dataset) / "queue.json"


def thumbnails(dataset: Path) -> Path:
    """Return the folder with a JPEG of each image that the queue shows."""
    return layout.review_queue(dataset) / "pictures"


def read_queue(dataset: Path) -> ReviewQueue | None:
    """Return the queue; None before one was made. Raises DataError if the file does not fit."""
    return ReviewQueue.read_if_there(path(dataset))


def thumbnail(dataset: Path, content: str) -> bytes | None:
    """Return the JPEG of an image by the SHA-256 of its file; None if there is none. Nothing else can be named so."""
    if not _CONTENT.fullmatch(content):
        return None
    try:
        return read_file(thumbnails(dataset) / f"{content}.jpg", most=LARGEST_THUMBNAIL, links=False)
    except OSError:
        return None
