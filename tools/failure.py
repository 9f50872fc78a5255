"""What a person reads when a run ends early: the cause, what to do, and the exit status."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.redaction import without_secrets
from skinlesion.foundation.regular_file import causes

KEPT: Final = "What was finished is kept"

_DISK_FULL: Final = (
    "no space left on device",
    "database or disk is full",
    "disk quota exceeded",
    "not enough free space",
)
"""As the errors of libraries say it that carry no number: HDF5's, SQLite's, NumPy's."""

_MB: Final = 1024**2


class RunFailed(Exception):
    """A run ended without success, for the reason that the message says."""


@dataclass(frozen=True)
class Failure:
    """Why a run ended: sentences for people, and the exit status (2: data, 3: this machine, 130: stopped, 1: anything else)."""

    text: str
    status: int

    def __post_init__(self) -> None:
        """Hide the secrets that a library's error may name."""
        object.__setattr__(self, "text", without_secrets(self.text))


def failure_of(error: BaseException, *, again: str, folders: Iterable[Path]) -> Failure:
    """Return what to tell a person whose run ended with this error.

    Args:
        error: what ended the run.
        again: the command that goes on.
        folders: where the run writes; on a full disk the one with the least room is named.
    """
    if isinstance(error, KeyboardInterrupt):
        return Failure(f"Stopped. {KEPT}: run {again} again to go on.", 130)
    if isinstance(error, DataError):
        return Failure(str(error), 2)
    if full := next(filter(_is_disk_full, causes(error)), None):
        return Failure(_disk_full(full, again, folders), 3)
    if isinstance(error, OSError):
        return Failure(f"{str(error).rstrip('.')}. {KEPT}: run {again} again when the cause is gone.", 3)
    what = (
        str(error)
        if isinstance(error, RunFailed)
        else f"An error of the program ended it: {type(error).__name__}: {error}"
    )
    return Failure(f"{what.rstrip('.')}. {KEPT}: {again} can be tried again.", 1)


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return any(words in str(error).lower() for words in _DISK_FULL)


def _disk_full(error: BaseException, again: str, folders: Iterable[Path]) -> str:
    free = {folder: shutil.disk_usage(folder).free for folder in map(_existing, folders)}
    fullest = min(free, key=lambda folder: free[folder], default=Path.cwd())
    cause = re.sub(r"(?<=\S)\s*\(.*\)", "", str(error).partition("\n[")[0], flags=re.DOTALL).rstrip(".")
    return (
        f"The disk that holds {fullest} is full: {free.get(fullest, 0) / _MB:,.0f} MB are left ({cause}). Make room there, or move "
        f"the folder to a larger disk. {KEPT}: run {again} again then."
    )


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(one for one in (folder.absolute(), *folder.absolute().parents) if one.is_dir())
