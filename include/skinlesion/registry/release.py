"""How a release folder comes into service: its record, the link to it, and the names that users know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.registry.model_files import H5, RECORD, TFLITE

NAMES: Final = (H5, TFLITE, RECORD)
"""The files of a release that are also reached under their names in models/."""


def put_in_service(models: Path, release: Path) -> None:
    """Point the link at a release: the one step by which everything changes.

    A folder or file that somebody put in the place of the link gets another name.
    """
    link = layout.release_in_service(models)
    if link.exists() and not link.is_symlink():
        link.rename(link.with_name(f"{link.name}.before-{release.name}"))
    _point_to(layout.release_in_service(models), Path(release.parent.name, release.name))


def name_release_files(models: Path) -> None:
    """Point the names directly under models/ at the files behind the link."""
    for name in NAMES:
        if not is_somebodys(models / name):
            _point_to(models / name, Path(layout.release_in_service(models).name, name))


def is_somebodys(path: Path) -> bool:
    """Return whether a name that a release takes is that of something else than a link."""
    return path.exists() and not path.is_symlink()


def require_free_names(models: Path) -> None:
    """Raise DataError if a file that is no link of the registry has a name that a release takes: it would be lost."""
    for path in (models / name for name in NAMES):
        if is_somebodys(path):
            raise DataError(
                f"{path} is a file that somebody put there; expected nothing, or the link of an earlier promotion. Nothing "
                "has changed. Move the file elsewhere, then promote again."
            )


def _point_to(link: Path, target: Path) -> None:
    """Make a symbolic link to a relative target, or move it there, by one rename."""
    if link.is_symlink() and link.readlink() == target:
        return
    partial = atomic.partial_of(link)
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.replace(partial, link)
    atomic.flush(link.parent)
