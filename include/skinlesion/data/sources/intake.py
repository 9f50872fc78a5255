"""Place a file from a source in the data set: whole, under a safe name, and never over another file."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from skinlesion.data.images.formats import SUFFIXES, image_name
from skinlesion.data.images.listing import found_in
from skinlesion.foundation import atomic, layout

LONGEST_NAME: Final = 200
"""Bytes of one part of a path; the same limit as for the names in a table of labels."""

TABLE_SUFFIX: Final = ".csv"

_NO_LINK: Final = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Error numbers of a file system without hard links, or of a file that this user may not link."""


class NotTaken(Exception):
    """A file is not taken into the data set; the message is the reason, for the report."""


class NameTaken(NotTaken):
    """Another file has the name already."""

    def __init__(self, holder: Path) -> None:
        super().__init__(
            f"the name is taken by {holder.name} of other content, which is kept. Rename or remove one of them"
        )
        self.holder = holder


class Intake:
    """The folders images/ and labels/ of a data set, and the names that are taken there. Threads may share it."""

    def __init__(self, dataset: Path) -> None:
        self.images = layout.images(dataset)
        self.labels = layout.labels(dataset)
        self._lock = threading.RLock()
        self._stems: dict[str, Path] | None = None

    def place(self, name: str, *, is_image: bool = False) -> Path:
        """Return the path in the data set for a file of this name, which is relative to its source.

        is_image: whether its content is that of an image, whatever its suffix. An image keeps its subfolders. Those of a table become part of its name, since labels/ has none. Raises NotTaken
        when the name is neither that of an image nor of a table, or could lead out of the folder.
        """
        parts = PurePosixPath(name).parts
        if not is_safe(name):
            raise NotTaken(
                f"expected a plain relative name, printable, without backslashes, leading dots and parts of more than "
                f"{LONGEST_NAME} bytes"
            )
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in SUFFIXES or is_image:
            return self.images.joinpath(*parts)
        if suffix == TABLE_SUFFIX:
            flat = "__".join(parts)[: -len(suffix)] + TABLE_SUFFIX
            if len(flat.encode()) <= LONGEST_NAME:
                return self.labels / flat
            raise NotTaken(f"with its folders the name has more than {LONGEST_NAME} bytes")
        raise NotTaken("neither an image nor a CSV table")

    def holder(self, place: Path) -> Path | None:
        """Return the file that has this name already, if any.

        The name of an image is taken in all of images/, whatever its folder and suffix, since a row of labels names the
        image without them.
        """
        if place.suffix == TABLE_SUFFIX:
            return place if os.path.lexists(place) else None
        with self._lock:
            if self._stems is None:
                self._stems = {image_name(path): path for path in _image_files(self.images)}
            return self._stems.get(image_name(place))

    @contextmanager
    def writing(self, place: Path) -> Iterator[Path]:
        """Provide a path to write to on the file system of `place`; what is left there at the end is removed."""
        # At the top of the folder, where `remove_partials` finds what a killed run left.
        top = self.labels if place.suffix == TABLE_SUFFIX else self.images
        partial = atomic.partial_of(top / place.name)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    def put(self, source: Path, place: Path, *, durable: bool = True) -> None:
        """Put a complete file in its place and remove its old name. Killed in between, the file has both names.

        With durable=False the caller flushes, as in `atomic.replacing`. Raises NameTaken, and OSError (EXDEV) when the two
        lie on different file systems.
        """
        if durable:
            atomic.flush(source)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise NotTaken(f"a file has the name of its folder {place.parent.name}") from None
        with self._lock:
            holder = self.holder(place)
            if holder is not None:
                raise NameTaken(holder)
            try:
                os.link(source, place)  # fails where a name is taken; a rename would replace it
            except FileExistsError:
                raise NameTaken(place) from None
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise
                if os.path.lexists(place):
                    raise NameTaken(place) from None
                source.rename(place)
            if self._stems is not None and place.suffix != TABLE_SUFFIX:
                self._stems[image_name(place)] = place
        if durable:
            atomic.flush(place.parent)
        source.unlink(missing_ok=True)

    def replace(self, source: Path, place: Path) -> None:
        """Replace a file that this source put there earlier by a complete file."""
        atomic.flush(source)
        os.replace(source, place)
        atomic.flush(place.parent)


def require_size(size: int, largest: int) -> None:
    """Raise NotTaken for a file that is larger than the largest that is opened (`DataSettings.largest_file`)."""
    if size > largest:
        raise NotTaken(f"{size:,} bytes; expected at most {largest:,}")


def is_safe(name: str) -> bool:
    """Return whether a relative name can only lead to a visible file below the folder that it is joined to."""
    if not name.isprintable() or "\\" in name:
        return False
    return all(part and not part.startswith(".") and len(part.encode()) <= LONGEST_NAME for part in name.split("/"))


def _image_files(folder: Path) -> Iterator[Path]:
    """Yield what has the name of an image, also where it cannot be used as one."""
    for found in found_in(folder, apart=layout.own_folders(folder.parent)):
        if found.is_image or Path(found.file).suffix.lower() in SUFFIXES:
            yield folder / found.file
