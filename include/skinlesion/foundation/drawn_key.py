"""A secret key in a file, drawn once by whoever needs it first: the names that are made with it cannot be guessed back."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from skinlesion.foundation import atomic
from skinlesion.foundation.lock import locked
from skinlesion.foundation.regular_file import read_file

_MOST: Final = 4096
_LOCK_WAIT: Final = 60.0


def read_key(path: Path) -> bytes:
    """Return the key in a file, empty if none was drawn."""
    try:
        return read_file(path, most=_MOST)
    except FileNotFoundError:
        return b""


def drawn_key(path: Path, work: str) -> bytes:
    """Return the key in a file that only its owner may read, drawn now if there is none.

    Where another thread or machine draws one at the same time, the first counts for all. work: what the lock is called.
    """
    if key := read_key(path):
        return key
    with locked(path.parent, work, wait=_LOCK_WAIT):
        if not read_key(path):
            with atomic.replacing(path) as partial:
                partial.touch(mode=0o600)
                partial.write_bytes(secrets.token_hex(32).encode())
    return read_key(path)
