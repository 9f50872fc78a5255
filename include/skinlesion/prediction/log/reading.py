"""The log as a table, whatever of it is in journals still; and what is removed from it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.tables import DamagedTable, empty, read_table, write_table
from skinlesion.prediction.log import diagnoses
from skinlesion.prediction.log.entries import COLUMNS, LogKey
from skinlesion.prediction.log.gaps import remove_gaps
from skinlesion.prediction.log.journal import LOCK_WAIT, blank, journals, parts, read_journal, store_closed

log = logging.getLogger(__name__)

DAY: Final = 86_400
_MILLION: Final = 1_000_000


def read_log(folder: Path, columns: Sequence[str] = tuple(COLUMNS), *, of_shadow: bool = False) -> pd.DataFrame:
    """Return columns of all answers, each once, in the order of time. `id`, `at` and `beside` are always among them.

    It may be read while a server writes it. of_shadow: what candidates in the shadow said beside the answers instead. Raises
    DataError where there is no log, or a file of it is damaged.
    """
    LogKey.of(folder)
    wanted = {name: dtype for name, dtype in COLUMNS.items() if name in {"id", "at", "beside", *columns}}
    found = []

    def take(table: pd.DataFrame) -> None:
        found.append(table[(table["beside"] != 0) == of_shadow])

    for path in sorted(journals(folder).glob("*.jsonl")):
        with suppress(FileNotFoundError):  # it became a Parquet file, which is read below
            take(read_journal(path)[list(wanted)])
    for path in sorted(parts(folder).glob("*.parquet")):
        try:
            take(read_table(path, wanted))
        except FileNotFoundError:  # too old, and removed meanwhile
            continue
        except DamagedTable as error:
            raise DataError(
                f"{error}. Restore the file from a back-up, or remove it: its entries are lost then."
            ) from None
    if not found:
        return empty(wanted)
    table = pd.concat(found, ignore_index=True)
    return table.drop_duplicates("id").sort_values(["at", "id"], ignore_index=True)


def remove_older(folder: Path, days: int) -> None:
    """Remove the Parquet files whose newest entry is older than so many days, and diagnoses and gaps as old."""
    limit = time.time() - days * DAY
    with locked(folder, "log", wait=LOCK_WAIT, where="this log"):
        for path in sorted(parts(folder).glob("*.parquet")):
            with suppress(DamagedTable):
                if (read_table(path, {"at": "int64"})["at"] < limit * _MILLION).all():
                    path.unlink()
        diagnoses.keep(folder, lambda one: one.noted >= limit)
    remove_gaps(folder, limit)


def forget(folder: Path, case: str) -> int:
    """Remove all entries and diagnoses of a case, and return the number of its answers. case: the id as the caller sends it.

    A server may go on writing. Raises DataError where there is no log.
    """
    hashed = LogKey.of(folder).of_case(case)
    if not hashed:
        raise DataError("Expected the id of a case, as it is sent with its pictures; found nothing.")
    ids: set[int] = set()
    store_closed(folder)
    with locked(folder, "log", wait=LOCK_WAIT, where="this log"):
        for path in sorted(journals(folder).glob("*.jsonl")):
            ids |= set(_ids(read_journal(path), hashed))
            blank(path, hashed)
        for path in sorted(parts(folder).glob("*.parquet")):
            if (read_table(path, {"case": "str"})["case"] == hashed).any():
                table = read_table(path, COLUMNS)
                ids |= set(_ids(table, hashed))
                rest = table[table["case"] != hashed]
                if rest.empty:
                    path.unlink()
                else:
                    write_table(path, rest, COLUMNS)
        diagnoses.keep(folder, lambda one: one.case != hashed)
    return len(ids)


def _ids(table: pd.DataFrame, case: str) -> list[int]:
    return [int(one) for one in table.loc[(table["case"] == case) & (table["beside"] == 0), "id"]]
