"""Diagnoses that came after the answers: of a case, or of one picture, by its hash in the log. The last one counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.labels.diagnosis import canonical_dx, is_recognised, normalise_dx
from skinlesion.data.labels.table_file import read_cells
from skinlesion.foundation import append_log, atomic
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.record import Record
from skinlesion.prediction.log.entries import LogKey, is_case

LOCK_WAIT: Final = 60.0

_HASH: Final = re.compile(r"[0-9a-f]{32}")


class LateDiagnosis(Record):
    """A line of diagnoses.jsonl.

    Attributes:
        case: keyed hash of the id of the case; empty if the diagnosis is of one picture.
        picture: hash of the picture as the log has it; empty if the diagnosis is of a case.
        dx: as the catalog stores diagnoses.
        date: of the diagnosis, ISO 8601.
        noted: when it arrived, seconds since 1970.
    """

    remedy = "Correct the line, or restore the file from a back-up."

    case: str
    picture: str
    dx: str
    date: str
    noted: float


def path_of(folder: Path) -> Path:
    """Return the path of the diagnoses of a log."""
    return folder / "diagnoses.jsonl"


def diagnosis_of(
    key: LogKey, where: str, *, case: str = "", picture: str = "", dx: str, day: str = ""
) -> LateDiagnosis:
    """Return a diagnosis of a case (its id as the caller sends it) or of a picture (its hash in the log).

    Raises DataError that begins with `where` and repeats no id.
    """
    case, picture = case.strip(), picture.strip().lower()
    if bool(case) == bool(picture):
        raise DataError(
            f"{where}: expected either the id of a case or the hash of a picture, found {'both' if case else 'none'}."
        )
    if case and not is_case(case):
        raise DataError(f"{where}: the id of the case is not one: expected at most 100 printable characters.")
    if picture and not _HASH.fullmatch(picture):
        raise DataError(
            f"{where}: expected the hash of a picture as its answer had it in `logged`, 32 hexadecimal digits."
        )
    if not normalise_dx(dx) or not is_recognised(dx):
        raise DataError(
            f"{where}: {dx[:80]!r} is no diagnosis that is known. Expected a code or a name that docs/reference/labels.md lists."
        )
    try:
        on = date.fromisoformat(day.strip()) if day.strip() else datetime.now(UTC).date()
    except ValueError:
        raise DataError(f"{where}: {day[:40]!r} is no date; expected one such as 2026-11-30.") from None
    return LateDiagnosis(
        case=key.of_case(case),
        picture=picture,
        dx=canonical_dx(dx),
        date=on.isoformat(),
        noted=datetime.now(UTC).timestamp(),
    )


def add(folder: Path, found: Iterable[LateDiagnosis]) -> int:
    """Add diagnoses, all of them or none, and return their number."""
    new = list(found)
    with locked(folder, "diagnoses", wait=LOCK_WAIT, where="this log"):
        append_log.append(path_of(folder), *new)
    return len(new)


def read(folder: Path) -> list[LateDiagnosis]:
    """Return the diagnoses, oldest first. Raises DataError that names a line that cannot be read."""
    return append_log.read(path_of(folder), LateDiagnosis.of_line).all()


def keep(folder: Path, is_kept: Callable[[LateDiagnosis], bool]) -> None:
    """Remove the diagnoses that are not to be kept."""
    path = path_of(folder)
    if not path.exists():
        return
    with locked(folder, "diagnoses", wait=LOCK_WAIT, where="this log"):
        found = read(folder)
        rest = [one for one in found if is_kept(one)]
        if len(rest) < len(found):
            atomic.write_bytes(path, "".join(one.line() + "\n" for one in rest).encode())


def of_table(key: LogKey, path: Path) -> list[LateDiagnosis]:
    """Return the diagnoses of a table with the columns case or picture, dx and, if it has one, date; one row a diagnosis.

    Raises DataError that names the first row that does not fit.
    """

    def choose(header: list[str]) -> list[str]:
        if "dx" not in header or not {"case", "picture"} & set(header):
            raise DataError(
                f"{path}: expected the columns case or picture, dx and date, one row a diagnosis; found: {', '.join(header)[:300]}."
            )
        return [name for name in ("case", "picture", "dx", "date") if name in header]

    return [
        diagnosis_of(
            key,
            f"{path}, row {row['row']}",
            case=row.get("case", ""),
            picture=row.get("picture", ""),
            dx=row["dx"],
            day=row.get("date", ""),
        )
        for row in read_cells(path, choose).to_dict("records")
    ]


def joined(entries: pd.DataFrame, found: list[LateDiagnosis]) -> pd.Series:
    """Return the diagnosis of each entry (columns case and picture), empty where none came; a picture's before its case's."""
    of_case = {one.case: one.dx for one in found if one.case}
    of_picture = {one.picture: one.dx for one in found if one.picture}
    if not found:
        return pd.Series("", index=entries.index, dtype="str")
    pairs = zip(entries["picture"], entries["case"], strict=True)
    dx = [of_picture.get(picture) or of_case.get(case, "") for picture, case in pairs]
    return pd.Series(dx, index=entries.index, dtype="str")
