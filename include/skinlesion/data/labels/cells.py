"""What the text in a cell of a table means: a value, a number, or that nothing is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

_OF_PANDAS: Final = frozenset(word.casefold() for word in STR_NA_VALUES)
_WORDS: Final = (
    "na nan null none nil nat empty blank missing unknown unk unspecified undefined undetermined undisclosed "
    "unavailable anonymous anonymised anonymized withheld redacted tbd tbc notavailable notapplicable "
    "notprovided notgiven notknown notrecorded notreported notspecified notstated notassessed notdocumented "
    "notidentified notdetermined notdone nodata noid novalue norecord noinformation noneprovided nonegiven "
    "noneknown datamissing missingdata missingvalue pending awaiting awaited outstanding nodiagnosis noresult "
    "unbekannt keineangabe inconnu desconocido desconhecido sconosciuto naoinformado"
)
_OF_THE_FIELD: Final = frozenset(_WORDS.split())
"""Without blanks and punctuation, so that `N.A.`, `#N/A` and `<NA>` are one word, and `not_available` is `Not available`."""

_OF_A_RESULT: Final = {"diagnosis", "histology", "histopathology", "pathology", "biopsy", "result", "results", "report"}
"""What is pending in `histology pending` and not known in `diagnosis unknown`."""

_CODE: Final = re.compile(r"-\s*(?:[1-9]|([789])\1+)(?:[.,]0*)?")
"""Numbers that surveys and programs write for a missing value: -1 to -9, -99, -999, -88, also as -1.0."""

_NOTHING_MADE_AN_ID: Final = re.compile(r"(?:[a-z]+[\W_]*[\W_])?(?:nan|none|null|<na>|-1)(?:\.0)?")
"""What becomes of a missing value in `f"PAT_{patient}"`."""


_WHOLE: Final = re.compile(r"\.0+$")
_NUMBER: Final = re.compile(r"[0-9]+(?:\.0+)?")
"""The decimals that a column of numbers gets when one of its cells is blank: `17.0` and `17` are one id."""

LOST_DIGITS: Final = re.compile(r"[0-9][.,][0-9]+[eE]\+?[0-9]{1,3}|[0-9][eE]\+[0-9]{1,3}")
"""What a spreadsheet makes of a long number. Several ids may have become this one."""


def is_missing(text: str) -> bool:
    """Return whether a text says that the value is not known: it is blank, has no letter and no digit, or is a known word."""
    text = text.strip().casefold()
    if text.isdigit():
        return False
    words = [word for word in re.split(r"[\W_]+", text) if word]
    said = [word for word in words if word not in _OF_A_RESULT] or words
    return (
        text in _OF_PANDAS
        or "".join(words) in _OF_THE_FIELD
        or all(word in _OF_THE_FIELD for word in said)
        or re.fullmatch("x{3,9}", text) is not None
        or _CODE.fullmatch(text) is not None
    )


def given(texts: pd.Series) -> pd.Series:
    """Return the texts without blanks around them, empty where the value is not known; str in, str out."""
    return each_text(texts, lambda text: "" if is_missing(text) else text.strip())


def given_ids(texts: pd.Series) -> pd.Series:
    """Return ids, empty where none is known; an id that stands for a missing value would make one lesion of all such images.

    Zeros (`0`, `0.0`, `000`) are no id, unless the others are numbers that go on from 0 and one of them has as many rows.
    """
    numbers, values = pd.factorize(texts)
    ids = [_id(str(value)) for value in values]
    zero = np.array([bool(one) and not one.strip("0-., ") for one in ids])
    if zero.any():
        counts = np.bincount(numbers, minlength=len(ids))
        others = [one for one, is_zero in zip(ids, zero, strict=True) if one and not is_zero]
        is_number = "1" in others and all(map(_NUMBER.fullmatch, others))
        has_id = np.array([bool(one) for one in ids]) & ~zero
        if not (is_number and counts[zero].sum() <= counts[has_id].max()):
            ids = ["" if is_zero else one for one, is_zero in zip(ids, zero, strict=True)]
    return pd.Series(ids, dtype="str").take(numbers).set_axis(texts.index)


def _id(text: str) -> str:
    text = text.strip()
    if is_missing(text) or _NOTHING_MADE_AN_ID.fullmatch(text.casefold()):
        return ""
    return unicodedata.normalize("NFC", _WHOLE.sub("", text) if _NUMBER.fullmatch(text) else text)


def each_text(texts: pd.Series, convert: Callable[[str], str]) -> pd.Series:
    """Return the results of a function that is called once for each different text."""
    numbers, values = pd.factorize(texts)
    return pd.Series([convert(str(value)) for value in values], dtype="str").take(numbers).set_axis(texts.index)


def each_number(texts: pd.Series, convert: Callable[[str], float]) -> npt.NDArray[np.float64]:
    """Return the results of a function that is called once for each different text."""
    numbers, values = pd.factorize(texts)
    return np.array([convert(str(value)) for value in values], dtype=np.float64)[numbers]


def number(text: str) -> float:
    """Return a number, also one with a decimal comma, and yes or no as 1 or 0; NaN for other text."""
    text = text.strip().casefold()
    if text in ("true", "yes", "false", "no"):
        return float(text in ("true", "yes"))
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("nan")


def years(text: str) -> float:
    """Return an age in years, NaN where it is none."""
    age = number(text)
    return age if 0 <= age <= 130 else float("nan")
