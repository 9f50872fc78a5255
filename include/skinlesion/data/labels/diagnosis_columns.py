"""The diagnosis of each row of a table, from the columns that its layout has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from skinlesion.data.labels.cells import each_number, each_text, is_missing, number
from skinlesion.data.labels.classes import BENIGN, MALIGNANT, UNKNOWN
from skinlesion.data.labels.diagnosis import is_recognised, label_of
from skinlesion.data.labels.vocabulary import Vocabulary

SHOWN: Final = 80
"""Number of characters of a value in a message."""

ONE_HOT: Final = {
    "mel": "mel", "nv": "nv", "bcc": "bcc", "ak": "ak", "akiec": "akiec", "bkl": "bkl", "df": "df", "vasc": "vasc",
    "scc": "scc", "unk": "unk", "sccka": "scc", "inf": "inflammatory or infectious diseases", "ben_oth": "benign",
    "mal_oth": "malignant", "common_nevus": "nv", "atypical_nevus": "nv", "melanoma": "mel", "seborrheic_keratosis": "bkl",
}  # fmt: skip
"""Columns that mark a diagnosis, and the diagnosis."""

_BENIGN_WORDS: Final = ("benign", "non-neoplastic", "non neoplastic", "nonneoplastic")


class DiagnosisColumns(NamedTuple):
    """The columns of the diagnosis, and how they are read.

    Attributes:
        kind: `text` is one column of names; `marks` is a column for each diagnosis, with one mark; `levels` are names from the
            coarsest to the finest; `class` is a class that a name may refine.
        names: the columns of the diagnosis; empty where there are none.
        classes: columns that name the class beside it.
    """

    kind: Literal["none", "text", "marks", "levels", "class"]
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All columns."""
        return self.names + self.classes


def diagnoses(cells: pd.DataFrame, columns: DiagnosisColumns, vocabulary: Vocabulary) -> tuple[pd.Series, pd.Series]:
    """Return the diagnosis of each row as the catalog stores it, and the problem of each row whose diagnosis is unclear."""
    nothing = pd.Series("", index=cells.index, dtype="str")
    match columns.kind:
        case "none":
            return nothing, nothing
        case "text":
            return each_text(cells[columns.names[0]], vocabulary.canonical), nothing
        case "marks":
            return _from_marks(cells, columns.names)
    names = len(columns.names)

    def read(*row: str) -> tuple[str, str]:
        given = [text for text in row[:names] if text]
        if columns.kind == "levels":
            dx, problem = _from_levels([text for text in given if not is_missing(text)], columns.names[0], vocabulary)
        else:
            dx, problem = (vocabulary.canonical(given[0]) if given else ""), ""
        if problem or not columns.classes:
            return dx, problem
        classes = dict(zip(columns.classes, row[names:], strict=True))
        # ISIC 2024 gives the target 0 to what its first level calls indeterminate.
        return _with_class(dx, given[-1] if given else "", classes, stays=columns.kind == "levels")

    return _from_rows(cells, columns.all, read)


def _from_marks(cells: pd.DataFrame, names: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    is_of_ph2 = "common_nevus" in names
    numbers = np.column_stack([each_number(cells[name], _mark if is_of_ph2 else number) for name in names])
    is_one = numbers == 1
    # ISIC 2017 has a nevus where it is neither
    fewest = 0 if names == ("melanoma", "seborrheic_keratosis") else 1
    ones = is_one.sum(axis=1)
    is_clear = (ones >= fewest) & (ones <= 1) & (is_one | (numbers == 0)).all(axis=1)
    codes = np.array([ONE_HOT[name] for name in names], dtype=object)
    dx = np.where(is_clear, np.where(ones == 0, "nv", codes[is_one.argmax(axis=1)]), "")
    problem = np.full(len(cells), "", dtype=object)
    problem[~is_clear] = [
        "expected one 1 and else 0 in the columns of diagnoses; found "
        + ", ".join(f"{name.upper()}={text[:20]}" for name, text in zip(names, row, strict=True))
        for row in cells.loc[~is_clear, list(names)].itertuples(index=False)
    ]
    return pd.Series(dx, index=cells.index, dtype="str"), pd.Series(problem, index=cells.index, dtype="str")


def _mark(text: str) -> float:
    """Return 1 for a mark and 0 for none; PH2 writes `X` and leaves the others blank."""
    if text.strip() in ("X", "x"):
        return 1.0
    return number(text) if text.strip() else 0.0


def _from_rows(
    cells: pd.DataFrame, columns: tuple[str, ...], read: Callable[..., tuple[str, str]]
) -> tuple[pd.Series, pd.Series]:
    """Return diagnosis and problem of each row: `read` is called once for each different combination of the values."""
    numbers = np.zeros(len(cells), dtype=np.int64)
    for name in columns:
        codes, values = pd.factorize(cells[name])
        numbers, _ = pd.factorize(numbers * len(values) + codes)
    _, examples = np.unique(numbers, return_index=True)
    pairs = [
        read(*(text.strip() for text in row)) for row in cells[list(columns)].iloc[examples].itertuples(index=False)
    ]
    dx, problem = (pd.Series([pair[part] for pair in pairs], dtype="str").take(numbers) for part in (0, 1))
    return dx.set_axis(cells.index), problem.set_axis(cells.index)


def _from_levels(given: list[str], column: str, vocabulary: Vocabulary) -> tuple[str, str]:
    """Return the deepest name that the taxonomy has, and the problem; a newer release of the archive may have finer names."""
    names = [name for text in given for name in text.split(":") if name.strip()]  # iddx_full joins its levels by `::`
    if not names:
        return "", ""
    known = [vocabulary.canonical(name) for name in names]
    dx = next((one for one in reversed(known) if is_recognised(one)), known[-1])
    if label_of(known[0]) != label_of(dx) and is_recognised(known[0]):
        return "", f"{column} is {names[0][:SHOWN]!r} but {names[-1][:SHOWN]!r} is {label_of(dx)}"
    return dx, ""


def _with_class(dx: str, written: str, row: dict[str, str], *, stays: bool) -> tuple[str, str]:
    """Return the diagnosis if it has the class that other columns give, else that class; and the problem.

    ISIC 2020 has the diagnosis `unknown` for 27,124 benign images. Actinic keratosis stays, because its class is a setting.
    """
    named_class = ""
    for column, text in row.items():
        if is_missing(text):
            continue
        one = _class_of(text, is_number=column in ("target", "malignant"))
        if not one:
            return (
                "",
                f"{column} is {text[:SHOWN]!r}; expected {'0 or 1' if column == 'target' else 'benign or malignant'}",
            )
        if {named_class, one} == {BENIGN, MALIGNANT}:
            return "", f"{next(iter(row))} is {row[next(iter(row))]!r} but {column} is {text[:SHOWN]!r}"
        named_class = named_class or one
    if not named_class or dx in ("ak", "akiec"):
        return dx, ""
    if label_of(dx) == UNKNOWN:
        keeps = (stays or named_class == "indeterminate") and dx and is_recognised(dx)
        return (dx if keeps else named_class), ""
    if label_of(dx) != label_of(named_class):
        return "", f"diagnosis {written[:SHOWN]!r} is {label_of(dx)} but the table calls the image {named_class}"
    return dx, ""


def _class_of(text: str, *, is_number: bool) -> str:
    """Return the class that a text names, or `indeterminate`; empty where it names none."""
    if is_number and (given := number(text)) == given:
        return {0.0: BENIGN, 1.0: MALIGNANT}.get(given, "")
    lower = text.lower()
    if lower.startswith("indeterminate"):
        return "indeterminate"
    return BENIGN if lower in _BENIGN_WORDS else MALIGNANT if lower == MALIGNANT else ""
