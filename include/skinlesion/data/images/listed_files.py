"""The image files of a data set as its folder lists them: nothing is opened, and no table is needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.images.formats import image_name
from skinlesion.data.images.listing import found_in, printable
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import reason_of
from skinlesion.foundation.shard import bucket_of


class FileStat(NamedTuple):
    """A file under images/: its relative name, its size, and the times by which a change shows."""

    file: str
    size: int
    mtime_ns: int
    ctime_ns: int


class ListedFiles(NamedTuple):
    """What lies under images/.

    Attributes:
        files: the image files of some buckets, sorted by name.
        others: the names of files that are no images.
        unusable: what lies there under the name of an image and is no file, and folders that are not searched: their names
            and the reasons.
    """

    files: list[FileStat]
    others: list[str]
    unusable: dict[str, str]


def list_files(dataset: Path, buckets: set[int] | None = None) -> ListedFiles:
    """Return what lies under images/. buckets: those whose image files are returned; None for all.

    Raises DataError when images/ itself may not be listed, OSError when it cannot.
    """
    folder = layout.images(dataset)
    within = f"{folder}/"
    found: list[FileStat] = []
    unusable: dict[str, str] = {}
    others: list[str] = []
    try:
        for entry in found_in(folder, apart=layout.own_folders(dataset)):
            name = entry.file if entry.file.isascii() else printable(entry.file)
            if entry.reason:
                unusable[name] = printable(entry.reason)
            elif not entry.is_image:
                others.append(name)
            elif name != entry.file:
                unusable[name] = "its name is not UTF-8 text: rename it"
            elif buckets is None or bucket_of_file(name) in buckets:
                try:
                    stat = os.stat(within + name)
                except OSError as error:
                    unusable[name] = reason_of(error)
                else:
                    found.append(FileStat(name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    except PermissionError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}): expected a folder that this user may read and enter. Change its "
            "permissions, or those of the folders above it."
        ) from None
    return ListedFiles(sorted(found), others, unusable)


def bucket_of_file(file: str) -> int:
    """Return the bucket of the image in a file under images/."""
    return bucket_of(image_name(file))


COPY: Final = "__aug"
"""Between the name of an image and the number of its augmented copy, in the copy's name."""


def image_of_resized(name: str) -> str:
    """Return the image that a resized file's name belongs to."""
    return os.path.splitext(name)[0]


def image_of_copy(name: str) -> str:
    """Return the image that an augmented copy's name belongs to."""
    return name.rpartition(COPY)[0]
