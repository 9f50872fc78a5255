"""The image files of a prediction: which ones lie under the paths that a person names, and in which order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from skinlesion.data.images.listing import found_in, printable
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import reason_of


def image_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Return the files named and the image files under the folders named, folder by folder, each sorted by name.

    What has the name of an image and is no file is among them, and so is a folder that is not searched: predicting it says
    why. A folder within another one that is named comes once. Raises DataError if a path is missing or a folder cannot be
    listed, before the first file.
    """
    for path in paths:
        try:
            path.stat()
            if path.is_dir():
                next(found_in(path), None)
        except OSError as error:
            what = f"cannot be used: {reason_of(error)}" if os.path.lexists(path) else "is missing"
            raise DataError(f"{path} {what}. Expected an image file or a folder of images.") from None
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
    for found in found_in(path):
        if found.is_image or found.reason:
            yield path / found.file


def count_images(paths: Sequence[Path]) -> int:
    """Return the number of images under these paths. Raises DataError if there is none."""
    count = sum(1 for _ in image_files(paths))
    if not count:
        raise DataError(
            f"No image file in {', '.join(map(str, paths))}: expected files of the formats that are read, whatever their names, "
            "such as JPEG, PNG, TIFF, HEIC and DICOM."
        )
    return count


def other_files(paths: Sequence[Path]) -> list[str]:
    """Return the files under the folders named that are no images, and are not predicted; hidden ones are left out."""
    folders = [path for path in paths if path.is_dir()]
    return [
        printable(str(folder / found.file))
        for folder in folders
        for found in found_in(folder)
        if not found.is_image and not found.reason and not Path(found.file).name.startswith(".")
    ]
