"""The image files of a prediction: which ones lie under the paths that a person names, and in which order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from skinlesion.data.images.file import SUFFIXES
from skinlesion.foundation.errors import DataError


def image_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Return the files named and the image files under the folders named, folder by folder, each sorted by name.

    A folder within another one that is named comes once. Raises DataError if a path is missing, before the first file.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path} is missing: expected an image file or a folder of images.")
    roots = {path: path.resolve() for path in paths}
    folders = {root for path, root in roots.items() if path.is_dir()}
    outermost = {
        path: root
        for number, (path, root) in enumerate(roots.items())
        if not folders & set(root.parents) and root not in list(roots.values())[:number]
    }
    return itertools.chain.from_iterable(_under(path) for path in outermost)


def _under(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for name in sorted(os.listdir(path)):
        if name.startswith("."):
            continue
        found = path / name
        if os.path.splitext(name)[1].lower() in SUFFIXES:
            yield found
        elif found.is_dir() and not found.is_symlink():
            yield from _under(found)


def count_images(paths: Sequence[Path]) -> int:
    """Return the number of images under these paths. Raises DataError if there is none."""
    count = sum(1 for _ in image_files(paths))
    if not count:
        raise DataError(
            f"No image file in {', '.join(map(str, paths))}: expected names ending in {', '.join(sorted(SUFFIXES))}."
        )
    return count


def shown(name: str) -> str:
    """Return a file's name as text that can be written as UTF-8, also if the name is not UTF-8."""
    return name.encode(errors="backslashreplace").decode()
