"""How a diagnosis is written: what does not change it, and what makes it doubtful."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_BRITISH: Final = (("naev", "nev"), ("haem", "hem"), ("tumour", "tumor"), ("rrhoe", "rrhe"), ("oedem", "edem"))
_PLURALS: Final = (
    ("nevi", "nevus"), ("lentigines", "lentigo"), ("ephelides", "ephelis"), ("verrucae", "verruca"),
    ("oses", "osis"), ("ases", "asis"), ("omata", "oma"),
)  # fmt: skip
_WORD: Final = re.compile(r"[^\W_]+|[?=<>~%!*&+]")
_OF_NO_WEIGHT: Final = frozenset({"of", "the", "a", "an", "and", "or", "nos", "type"})
_POSSESSIVE: Final = re.compile(r"(?i)['\u2019]s\b")
_THICKNESS: Final = re.compile(
    r"[<>=\u2264\u2265~]*\s*\d+(?:[.,]\d+)?\s*(?:(?:-|to)\s*\d+(?:[.,]\d+)?\s*)?mm\b"
    r"|\b(?:less|more|greater|thinner|thicker) than\b|\bbreslow(?: (?:thickness|index|depth))?\b|\bthickness\b"
    r"|\b(?:ajcc |uicc |tnm )?stage (?:iv|i{1,3}|0|[1-4])[a-d]?\b|\bclark(?:'?s)? level (?:iv|v|i{1,3}|[1-5])\b|\blevel (?:iv|v|i{1,3}|[1-5])\b"
    r"|\bp?t(?:[0-4][ab]?|is)\b|\bgrade (?:i{1,3}|[1-3])\b"
)

MALIGNANT_WORD: Final = re.compile(
    r"melanom|carcinom|karzinom|karcinom|malign|metasta|lymphom|sarcom|sarkom|bowen|cancer|krebs|\bpaget|merkel"
    r"|fungoides|s[e\u00e9]zary|leuk(?:a)?emi|basaliom|spinaliom|keratoacanthom|kaposi|epitheliom"
    r"|\b(?:mel|bcc|scc|sccis|iec|lmm?|ssm|alm|nmsc|dfsp|mcc|ctcl)\b|^mm$"
)
"""Parts of words, and abbreviations, that name a malignant disease or are said of one (`no melanoma`)."""

_DOUBTFUL_END: Final = re.compile(r"[-\u2212\u2013?!~*]\s*\)?\s*$")


def plain(name: str) -> str:
    """Return a name in lower case, without apostrophes, and with single blanks for blanks, underscores and hyphens."""
    name = unicodedata.normalize("NFKC", name).casefold()
    return re.sub(r"[\s_\-\u2010-\u2015\u2212]+", " ", re.sub("['\u2018\u2019`\u00b4]", "", name)).strip()


def words(name: str) -> frozenset[str]:
    """Return the words of a name in one spelling, without those that carry no meaning in a diagnosis.

    Every other word stays, so that a word of doubt (`no`, `excluded`, `?`) keeps the name from being taken for another.
    """
    if _DOUBTFUL_END.search(name):
        return frozenset({"?"})
    return frozenset(map(_one_spelling, _WORD.findall(plain(_POSSESSIVE.sub("", name))))) - _OF_NO_WEIGHT


def without_thickness(name: str) -> str:
    """Return a name without a tumour's thickness, level and stage: they do not change what it is."""
    return _THICKNESS.sub(" ", unicodedata.normalize("NFKC", name).casefold())


def may_be_malignant(text: str) -> bool:
    """Return whether a text has a word that is said of malignant diseases; it may deny it."""
    return MALIGNANT_WORD.search(plain(text)) is not None


def _one_spelling(word: str) -> str:
    for british, american in _BRITISH:
        word = word.replace(british, american)
    for plural, singular in _PLURALS:
        if word.endswith(plural):
            return word.removesuffix(plural) + singular
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
