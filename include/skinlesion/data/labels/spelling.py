"""How a diagnosis is written: what does not change it, and what makes it doubtful."""

from __future__ import annotations

import re
import unicodedata
from difflib import get_close_matches
from typing import Final

_BRITISH: Final = (
    ("naev", "nev"),
    ("haem", "hem"),
    ("tumour", "tumor"),
    ("rrhoe", "rrhe"),
    ("oedem", "edem"),
    ("navus", "nevus"),
)
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

_MALIGNANT: Final = re.compile(
    r"melano[mo]|carcino[mo]|kar[cz]ino|malign|metasta|lymphom|sar[ck]om|bowen|cancer|cancro|krebs|kanker|\bpaget|merkel"
    r"|fungoides|sezary|leuk(?:a)?emi|basaliom|spinaliom|keratoacanthom|kaposi|epitheliom|basal cell|squamous cell"
    r"|basocel|spinocel|basalzell|stachelzell|plattenepithel|czerniak|\u043c\u0435\u043b\u0430\u043d\u043e\u043c|\u043a\u0430\u0440\u0446\u0438\u043d\u043e\u043c|\u9ed1\u8272\u7d20\u7624|\u9ed2\u8272\u816b|\u764c"
    r"|\b(?:mel|bcc|scc|sccis|iec|lmm?|ssm|alm|nmsc|dfsp|mcc|ctcl)\b|^mm$"
)
"""Parts of words in several languages, and abbreviations, that name a malignant disease or are said of one (`no melanoma`)."""

_OFTEN_MISSPELT: Final = ("melanoma", "carcinoma", "malignant", "metastasis", "lymphoma", "sarcoma", "basalioma")
_ALIKE: Final = 0.85
"""Likeness from which a word is taken for one of these misspelt: `melonoma` has 0.88, `melanocytoma` 0.8."""
_WORDS_COMPARED: Final = 50

_DOUBTFUL_END: Final = re.compile(r"[-\u2212\u2013?!~*]\s*\)?\s*$")


def plain(name: str) -> str:
    """Return a name in lower case, without apostrophes and accents, and with single blanks for blanks, underscores and hyphens."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub(r"[\s_\-\u2010-\u2015\u2212]+", " ", re.sub("['\u2018\u2019`\u00b4]", "", letters)).strip()


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
    """Return whether a text has a word that is said of malignant diseases, also a misspelt one; it may deny it."""
    said = plain(text)
    return _MALIGNANT.search(said) is not None or any(
        get_close_matches(word, _OFTEN_MISSPELT, n=1, cutoff=_ALIKE)
        for word in _WORD.findall(said)[:_WORDS_COMPARED]
        if len(word) <= 2 * len("metastasis")
    )


def _one_spelling(word: str) -> str:
    for british, american in _BRITISH:
        word = word.replace(british, american)
    for plural, singular in _PLURALS:
        if word.endswith(plural):
            return word.removesuffix(plural) + singular
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word
