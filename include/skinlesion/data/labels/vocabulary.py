"""The user's own table of words: what a diagnosis that no other table knows means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import canonical_dx, is_recognised
from skinlesion.data.labels.image_name import composed
from skinlesion.data.labels.table_file import read_cells
from skinlesion.foundation.errors import DataError


@dataclass(frozen=True)
class Vocabulary:
    """Words, and the diagnosis of each as the catalog stores it. They come before what the program knows."""

    dx_of: Mapping[str, str] = field(default_factory=dict)

    def canonical(self, dx: str) -> str:
        """Return a diagnosis as the catalog stores it."""
        own = self.dx_of.get(_key(dx)) if self.dx_of else None
        return canonical_dx(dx) if own is None else own


def read_vocabulary(path: Path) -> Vocabulary:
    """Return the words of a table with the columns word and dx.

    Raises DataError as `read_cells` does, and when a row has no word, a diagnosis that is not known, or another one for the
    same word.
    """

    def choose(header: list[str]) -> list[str]:
        if missing := [name for name in ("word", "dx") if name not in header]:
            raise DataError(
                f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; expected word and dx, one row a "
                f"word, found: {', '.join(header)[:300]}."
            )
        return ["word", "dx"]

    dx_of: dict[str, str] = {}
    for row in read_cells(path, choose).itertuples():
        word, dx = _key(str(row.word)), str(row.dx)
        if not word or not dx.strip() or not is_recognised(dx):
            raise DataError(
                f"{path}, row {row.row}: {str(row.word)[:80]!r} is to mean {dx[:80]!r}. Expected a word, and a code or a name "
                f"that docs/reference/labels.md lists, or one of {', '.join(LABELS)}."
            )
        if dx_of.setdefault(word, canonical_dx(dx)) != canonical_dx(dx):
            raise DataError(f"{path}, row {row.row}: {word[:80]!r} has two meanings. Remove one of the rows.")
    return Vocabulary(dx_of)


def _key(word: str) -> str:
    return " ".join(composed(word).casefold().split())
