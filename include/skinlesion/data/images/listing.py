"""The images under a folder, and what else lies there under an image's name: nothing is left out silently, nothing is endless.

A link is followed, to a file or a folder, since whoever owns the folder put it there. A folder that is searched already, or
that holds the folder that is searched, is not searched a second time.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.images.formats import SUFFIXES, head_of, is_image, why_unread
from skinlesion.foundation.regular_file import kind_of, reason_of

_DEEPEST: Final = 100  # folders within folders; the system takes no longer paths than 4,096 bytes


CANNOT_LIST: Final = "a folder that cannot be listed"
"""How the reason begins why what a folder holds is not known."""


class Found(NamedTuple):
    """Something under a folder, hidden things left out.

    Attributes:
        file: its name relative to the folder.
        is_image: whether it is a file with the suffix of an image, or one whose first bytes are those of an image.
        reason: why it cannot be used, empty otherwise. A folder has one where it is not searched, and a file where it shows
            something that is not read (a drawing, a video).
    """

    file: str
    is_image: bool
    reason: str = ""


def found_in(folder: Path | str, apart: Sequence[Path] = ()) -> Iterator[Found]:
    """Yield what lies under a folder, folder by folder, each sorted by name.

    Args:
        folder: where to look.
        apart: folders that are not searched when a link leads to them, or into them, or to one above them.

    Raises OSError when the folder itself cannot be listed.
    """
    return _Search(folder, apart).found()


def printable(name: str) -> str:
    """Return a name as text that can be written as UTF-8, also where it is not UTF-8."""
    return name.encode(errors="backslashreplace").decode()


class _Search:
    def __init__(self, folder: Path | str, apart: Sequence[Path]) -> None:
        self._folder = os.fspath(folder)
        self._apart = [os.path.realpath(path) for path in (folder, *apart)]
        self._searched: dict[tuple[int, int], str] = {}

    def found(self) -> Iterator[Found]:
        self._refused_folder("", os.stat(self._folder))
        within = [(iter(_sorted(self._folder)), "")]
        while within:
            entries, parent = within[-1]
            entry = next(entries, None)
            if entry is None:
                within.pop()
                continue
            if entry.name.startswith("."):
                if not entry.is_dir(follow_symlinks=False):
                    yield Found(parent + entry.name, is_image=False)
                continue
            file = parent + entry.name
            has_suffix = os.path.splitext(entry.name)[1].lower() in SUFFIXES
            try:
                if not entry.is_symlink() and entry.is_file(follow_symlinks=False):  # no system call: the usual case
                    yield Found(file, True) if has_suffix else _by_content(file, entry.path)
                    continue
                state = entry.stat()
                if not stat.S_ISDIR(state.st_mode):
                    if stat.S_ISREG(state.st_mode):
                        yield Found(file, True) if has_suffix else _by_content(file, entry.path)
                    else:
                        yield Found(file, False, f"{kind_of(state.st_mode)}, not a file" if has_suffix else "")
                    continue
                reason = self._refused_folder(file, state, is_link=entry.is_symlink())
                if not reason and len(within) > _DEEPEST:
                    reason = f"a folder that is not searched: more than {_DEEPEST} folders within each other"
                if reason:
                    yield Found(file, is_image=False, reason=reason)
                    continue
                try:
                    within.append((iter(_sorted(entry.path)), f"{file}/"))
                except OSError as error:
                    yield Found(file, is_image=False, reason=f"{CANNOT_LIST}: {reason_of(error)}")
            except OSError as error:
                is_nowhere = error.errno == errno.ENOENT  # as an editor's lock
                yield Found(file, is_image=False, reason="" if is_nowhere and not has_suffix else reason_of(error))

    def _refused_folder(self, file: str, state: os.stat_result, *, is_link: bool = False) -> str:
        """Return why a folder is not searched, empty where it is; from then on it counts as searched."""
        if is_link:
            target = os.path.realpath(os.path.join(self._folder, file))
            if any(_is_within(target, one) or _is_within(one, target) for one in self._apart):
                return (
                    f"a link to {target}, which holds the folder that is searched, or belongs to it; it is not followed"
                )
        key = (state.st_dev, state.st_ino)
        if (other := self._searched.setdefault(key, file)) != file:
            return f"a folder that is searched as {other or self._folder} already"
        return ""


def _by_content(file: str, path: str) -> Found:
    head = head_of(path)
    reason = why_unread(head, file)
    return Found(file, not reason and is_image(head), reason)


def _sorted(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
