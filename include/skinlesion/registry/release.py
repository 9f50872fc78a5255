"""How a release folder comes into service: its record, the link to it, and the names that users know."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from skinlesion.foundation import atomic, layout
from skinlesion.registry.in_service import NAMES, RECORD


def write_record(release: Path, record: dict[str, Any]) -> None:
    """Write a release's record, the last of its files."""
    atomic.write_text(release / RECORD, json.dumps(record, indent=1))
    atomic.flush(release.parent)


def put_in_service(models: Path, release: Path) -> None:
    """Let the link lead to a release: the one step by which everything changes."""
    _point_to(layout.release_in_service(models), Path(release.parent.name, release.name))


def name_release_files(models: Path) -> None:
    """Let the names directly under models/ lead through the link."""
    for name in NAMES:
        _point_to(models / name, Path(layout.release_in_service(models).name, name))


def _point_to(link: Path, target: Path) -> None:
    """Make a symbolic link to a relative target, or move it there, by one rename."""
    if link.is_symlink() and link.readlink() == target:
        return
    partial = atomic.partial_of(link)
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    os.replace(partial, link)
    atomic.flush(link.parent)
