"""Names of patients and lesions for ids in DICOM files, which may themselves name a person.

The name is a keyed hash (HMAC-SHA-256) of the id. The key is drawn once for a data set and lies beside its tables: without it
nobody can find out an id by hashing all the ids that a hospital may have given.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.lock import locked
from skinlesion.foundation.regular_file import read_file

_MOST: Final = 4096
_LOCK_WAIT: Final = 60.0


class SubjectKey:
    """The key of a data set, which is drawn when the first id needs it."""

    def __init__(self, dataset: Path) -> None:
        self._path = layout.subject_key(dataset)

    def name_of(self, what: str, identifier: str) -> str:
        """Return the name for an id of a kind (`patient`, `lesion`); empty for an id that is empty."""
        if not identifier:
            return ""
        key = self._read() or self._draw()
        digest = hmac.new(key, f"{what}\0{identifier}".encode(), hashlib.sha256).hexdigest()
        return self._mark(key) + digest[:16]

    def mark(self) -> str:
        """Return how the names of this key begin; where no key was drawn, what no name begins with."""
        key = self._read()
        return self._mark(key) if key else "\0"

    @staticmethod
    def _mark(key: bytes) -> str:
        return f"dicom_{hashlib.sha256(key).hexdigest()[:6]}_"

    def _read(self) -> bytes:
        try:
            return read_file(self._path, most=_MOST)
        except FileNotFoundError:
            return b""

    def _draw(self) -> bytes:
        """Draw a key; where another thread or machine draws one at the same time, the first counts for all."""
        with locked(self._path.parent, "subject", wait=_LOCK_WAIT):
            if not self._read():
                with atomic.replacing(self._path) as partial:
                    partial.touch(mode=0o600)
                    partial.write_bytes(secrets.token_hex(32).encode())
        return self._read()
