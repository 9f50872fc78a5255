"""split.parquet: the sides that were decided, and from which earlier states of the table they follow.

The table notes its own digest and those of all states before it. The catalog, the manifest and the registry note the digest
of the split that they were made from. So a table of last week, an edited one and that of another data set are told from the
table that follows from what is known, and nothing moves to the other side unseen. The table is written before the catalog: if
the process is killed in between, once or several times, the catalog knows one of the states before, and the next run goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from skinlesion.data.split import DECISION_COLUMNS, SPLITS
from skinlesion.data.split_version import KnownSplit, SplitVersion
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import empty, read_notes, read_table, write_table
from skinlesion.foundation.wording import counted

_BEFORE: Final = "split_before"
_HEX_DIGITS: Final = 16

ACCEPT: Final = "`skinlesion split accept --reason ...`"
"""The command that takes a split which does not follow from what is known."""


@dataclass(frozen=True)
class SplitTable:
    """The decided sides.

    Attributes:
        decisions: columns `DECISION_COLUMNS`.
        before: digests of the states that it follows from, oldest first.
        version: its name; None for a data set that has no split yet.
    """

    decisions: pd.DataFrame
    before: tuple[str, ...]
    version: SplitVersion | None

    @classmethod
    def made(cls, decisions: pd.DataFrame, before: tuple[str, ...], generation: int) -> SplitTable:
        """Return a new state of the table, with its digest."""
        return cls(
            decisions, before, SplitVersion(generation=generation, digest=_digest(decisions, before, generation))
        )

    def follows(self, known: SplitVersion) -> bool:
        """Return whether it is that state or came from it."""
        return self.version is not None and known.digest in (self.version.digest, *self.before)

    def write(self, dataset: Path) -> None:
        """Write the table, which has a version."""
        assert self.version is not None
        notes = self.version.notes() | {_BEFORE: " ".join(self.before)}
        write_table(layout.split(dataset), self.decisions, DECISION_COLUMNS, notes)


def read_split(dataset: Path, also: Iterable[KnownSplit] = ()) -> SplitTable:
    """Return the sides that were decided so far; no rows before the first ingest.

    also: what else knows a state of the split, such as the registry. Raises DataError, which says what to restore, when the
    table is missing though a state of it is known, cannot be read, was altered, or does not follow from what is known.
    """
    path = layout.split(dataset)
    knowing = [*known_in(dataset), *also]
    if not knowing and layout.catalog(dataset).exists():
        catalog = layout.catalog(dataset)
        raise DataError(
            f"{catalog} cannot be read, or another program wrote it: expected the catalog of ingest, which says what split it "
            "belongs to, and nothing else knows it. Restore it from a backup, or remove it: ingest then makes it anew."
        )
    if not path.exists():
        if knowing:
            raise DataError(
                f"{path} is missing though {knowing[0].who} knows its {knowing[0].version}: expected the table of which lesion is held out. "
                "Restore it from a backup. Another data set needs a models folder of its own. To decide the split "
                f"anew, which makes every earlier evaluation incomparable: {ACCEPT}."
            )
        return SplitTable(empty(DECISION_COLUMNS), (), None)
    table, problem = read_unchecked(dataset)
    if problem:
        expected = max((known.version for known in knowing), key=lambda version: version.generation, default=None)
        wanted = f", {expected}," if expected is not None else ""
        raise DataError(
            f"{path} was altered, or another program wrote it: {problem}. Expected the table{wanted} as ingest left it. "
            f"Restore it from a backup. To take it as it is: {ACCEPT}."
        )
    for who, version in knowing:
        if not table.follows(version):
            raise DataError(
                f"{path} is of {table.version} and does not follow from {version}, which {who} knows: images would move to "
                f"the other side of the split. Restore the table that belongs to {who}. To take this one all the same: {ACCEPT}."
            )
    return table


def read_unchecked(dataset: Path) -> tuple[SplitTable, str]:
    """Return the table as it is, and what is wrong with it in itself; empty if nothing is.

    Raises DataError when it cannot be read.
    """
    path = layout.split(dataset)
    try:
        decisions, notes = read_table(path, DECISION_COLUMNS), read_notes(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error}): expected the table of which lesion is held out. Restore it from a backup."
        ) from None
    before, version = tuple(notes.get(_BEFORE, "").split()), SplitVersion.of_notes(notes)
    table = SplitTable(decisions, before, version)
    if version is not None and version.digest == _digest(decisions, before, version.generation):
        return table, ""
    return table, impossible(decisions) or (
        "it has no digest" if version is None else f"it is not what its digest, {version.digest}, was computed from"
    )


def impossible(decisions: pd.DataFrame) -> str:
    """Return what makes a table no split at all, in words; empty if it is one."""
    is_side = decisions["split"].isin(SPLITS)
    if not is_side.all():
        row = decisions[~is_side].iloc[0]
        return f"{counted(int((~is_side).sum()), 'row has', 'rows have')} no side, the first: {row['key']!s} with {row['split']!s}, not one of {', '.join(SPLITS)}"
    is_empty = decisions["key"].isna() | (decisions["key"] == "")
    if is_empty.any():
        return f"{counted(int(is_empty.sum()), 'row has', 'rows have')} no key"
    again = decisions["key"].duplicated(keep=False)
    if again.any():
        key = decisions.loc[again, "key"].iloc[0]
        sides = sorted(set(decisions.loc[decisions["key"] == key, "split"]))
        return f"{again.sum()} rows have the key of another row, the first: {key} ({' and '.join(sides)})"
    return ""


def written(dataset: Path, before: SplitTable, decisions: pd.DataFrame) -> SplitVersion:
    """Write the sides that are decided, columns `DECISION_COLUMNS`, if they changed; return the split's name.

    Call it before the catalog is written: sides that are in a catalog alone could be decided otherwise after a crash.
    """
    if before.version is not None and (decisions is before.decisions or decisions.equals(before.decisions)):
        return before.version
    after = (
        SplitTable.made(decisions, (), 1)
        if before.version is None
        else SplitTable.made(decisions, (*before.before, before.version.digest), before.version.generation + 1)
    )
    after.write(dataset)
    assert after.version is not None
    return after.version


def split_noted_in(path: Path, stage: str) -> SplitVersion:
    """Return the split that the sides of a table come from, which the stage wrote. Raises DataError when the table does not say."""
    version = SplitVersion.of_notes(read_notes(path))
    if version is None:
        raise DataError(f"{path} does not say which split its sides come from: another program wrote it. Run {stage}.")
    return version


def known_in(dataset: Path) -> Iterator[KnownSplit]:
    """Yield the states of the split that the catalog and the manifest know. One that cannot be read, or does not say, knows none."""
    for path in (layout.catalog(dataset), layout.manifest(dataset)):
        with suppress(OSError):
            version = SplitVersion.of_notes(read_notes(path))
            if version is not None:
                yield KnownSplit(path.name, version)


def _digest(decisions: pd.DataFrame, before: tuple[str, ...], generation: int) -> str:
    """Return the digest of a state of the table; a million rows take a tenth of a second."""
    hashed = hashlib.sha256(f"{generation} {' '.join(before)}\n".encode())
    for column in DECISION_COLUMNS:
        texts = pa.chunked_array(pa.array(decisions[column].astype("str"), pa.large_string())).combine_chunks()
        _, offsets, content = texts.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        hashed.update((ends - ends[:1]).tobytes())
        hashed.update(memoryview(content)[ends[0] : ends[-1]] if len(texts) else b"")
    return hashed.hexdigest()[:_HEX_DIGITS]
