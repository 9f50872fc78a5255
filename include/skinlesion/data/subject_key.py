"""Names of patients and lesions for ids in DICOM files, which may themselves name a person.

The name is a keyed hash (HMAC-SHA-256) of the id. The key is drawn once for a data set and lies beside its tables: without it
nobody can find out an id by hashing all the ids that a hospital may have given.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from skinlesion.foundation import layout
from skinlesion.foundation.drawn_key import drawn_key, read_key


class SubjectKey:
    """The key of a data set, which is drawn when the first id needs it."""

    def __init__(self, dataset: Path) -> None:
        self._path = layout.subject_key(dataset)

    def name_of(self, what: str, identifier: str) -> str:
        """Return the name for an id of a kind (`patient`, `lesion`); empty for an id that is empty."""
        if not identifier:
            return ""
        key = drawn_key(self._path, "subject")
        digest = hmac.new(key, f"{what}\0{identifier}".encode(), hashlib.sha256).hexdigest()
        return self._mark(key) + digest[:16]

    def mark(self) -> str:
        """Return how the names of this key begin; where no key was drawn, what no name begins with."""
        key = read_key(self._path)
        return self._mark(key) if key else "\0"

    @staticmethod
    def _mark(key: bytes) -> str:
        return f"dicom_{hashlib.sha256(key).hexdigest()[:6]}_"
