"""Which split a table or a model belongs to: the name of one state of split.parquet, noted in all that follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from skinlesion.foundation.record import RecordPart

_GENERATION: Final = "split_generation"
_DIGEST: Final = "split_digest"


class SplitVersion(RecordPart):
    """One state of split.parquet.

    Attributes:
        generation: 1 for the first; each change counts it up.
        digest: 16 hex digits, a hash of the sides and of the digests of all states before.
    """

    generation: int
    digest: str

    def __str__(self) -> str:
        return f"generation {self.generation} ({self.digest})"

    def notes(self) -> dict[str, str]:
        """Return the notes by which a Parquet file knows its split."""
        return {_GENERATION: str(self.generation), _DIGEST: self.digest}

    @classmethod
    def of_notes(cls, notes: Mapping[str, str]) -> Self | None:
        """Return the split that a file knows by its notes; None if it knows none."""
        generation, digest = notes.get(_GENERATION, ""), notes.get(_DIGEST, "")
        return cls(generation=int(generation), digest=digest) if generation.isdecimal() and digest else None


class KnownSplit(NamedTuple):
    """A state of the split that something knows. who: what knows it, for people."""

    who: str
    version: SplitVersion
