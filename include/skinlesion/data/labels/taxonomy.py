"""The ISIC Archive's taxonomy of diagnoses: the short code and the class of a name, and which of two names is finer.

The names and their tree are those of the package `isic-metadata`; a name's first level (Malignant, Benign,
Indeterminate) gives its class.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final, NamedTuple

from isic_metadata.diagnosis_hierarchical import DiagnosisEnum

from skinlesion.data.labels.classes import BENIGN, LABEL_OF_DX, MALIGNANT, UNKNOWN
from skinlesion.data.labels.names import DISEASES, OTHER_NAMES
from skinlesion.data.labels.spelling import plain, without_thickness, words

ROOTS_OF_CODE: Final[dict[str, tuple[str, ...]]] = {
    "mel": ("Malignant melanocytic proliferations (Melanoma)",),
    "nv": ("Nevus",),
    "bcc": ("Basal cell carcinoma",),
    # ISIC 2019 counts Bowen's disease, the squamous cell carcinoma in situ, here: it relabels so what HAM10000 has in akiec.
    "scc": ("Squamous cell carcinoma in situ", "Squamous cell carcinoma, Invasive", "Squamous cell carcinoma, NOS"),
    "ak": ("Solar or actinic keratosis",),
    "bkl": ("Seborrheic keratosis", "Solar lentigo", "Lichen planus like keratosis", "Pigmented benign keratosis"),
    "df": ("Dermatofibroma",),
    "vasc": ("Benign soft tissue proliferations - Vascular", "Hemorrhagic lesions"),
}
"""The names that each code of the challenges stands for, with everything below them. From the descriptions of the classes
in Tschandl, Rosendahl, Kittler, Sci. Data 5, 180161 (2018), and of the ISIC challenge of 2019."""

_LONGEST_NAME: Final = 300  # characters; twice the taxonomy's longest

_CLASS_OF_TOP: Final = {"Malignant": MALIGNANT, "Benign": BENIGN, "Indeterminate": UNKNOWN}


class Diagnosis(NamedTuple):
    """A diagnosis of the taxonomy: `dx` as the catalog stores it, and its class."""

    dx: str
    label: str


@lru_cache(maxsize=1 << 16)
def find(name: str) -> Diagnosis | None:
    """Return the diagnosis of a name at any level of the taxonomy, or of a path of names joined by `:`; None for other words.

    Spelling does not matter: case, blanks, hyphens, underscores, apostrophes, plurals, British forms, the order of the words,
    and a tumour's thickness or stage. A name that has any further word than those which leave a disease what it is (`no`,
    `excluded`, `or`, `?`) is not recognised.
    """
    found = _by_name().get(_key(name))
    if found is not None or len(name) > _LONGEST_NAME:
        return found
    said = words(without_thickness(name))
    if said in _by_words():
        return _by_words()[said]
    fitting = [
        (len(head), disease.name)
        for disease in DISEASES
        for head in disease.heads
        if head <= said and said - head <= disease.with_words
    ]
    # The first of the longest heads.
    return _by_name()[_key(max(fitting, key=lambda one: one[0])[1])] if fitting else None


def refines(finer: str, coarser: str) -> bool:
    """Return whether one diagnosis, as the catalog stores it, is the same as another or a finer name for it.

    `mel` refines `malignant`, `ak` and `scc` refine `akiec`, anything refines a blank and `unknown`. Words that are not
    recognised, and `unk` (ISIC 2019: none of the other classes), are refined by nothing else and refine nothing else.
    """
    if finer == coarser or coarser in ("", "unknown"):
        return True
    above = _roots(coarser)
    below = _roots(finer)
    return bool(below) and all(any(f"{path}:".startswith(f"{root}:") for root in above) for path in below)


def _stored(name: str) -> str:
    """Return a name of the taxonomy as the catalog stores it."""
    return re.sub(r"[\s_]+", " ", re.sub("['\u2019]", "", name)).strip().lower()


def _key(name: str) -> str:
    return re.sub(r"\s*:[\s:]*", ":", plain(name))


@cache
def _path_of_name() -> dict[str, str]:
    """Return the path of each name in the tree; a name occurs in one place only."""
    return {member.value.rpartition(":")[2]: member.value for member in DiagnosisEnum}


@cache
def _by_name() -> dict[str, Diagnosis]:
    paths = _path_of_name()
    codes = {paths[root]: code for code, roots in ROOTS_OF_CODE.items() for root in roots}
    found: dict[str, Diagnosis] = {}
    for name, path in paths.items():
        levels = path.split(":")
        above = (":".join(levels[:depth]) for depth in range(len(levels), 0, -1))
        code = next((codes[part] for part in above if part in codes), None)
        diagnosis = Diagnosis(_stored(name) if code is None else code, _CLASS_OF_TOP[levels[0]])
        found[_key(name)] = found[_key(path)] = diagnosis
    for word, name in OTHER_NAMES.items():
        found.setdefault(_key(word), found[_key(name)])
    return found | {"akiec": Diagnosis("akiec", UNKNOWN)}


@cache
def _by_words() -> dict[frozenset[str], Diagnosis]:
    """Return the diagnosis of each set of words that means one only."""
    meanings: dict[frozenset[str], set[Diagnosis]] = {}
    for name, diagnosis in _by_name().items():
        if ":" not in name:
            meanings.setdefault(words(name), set()).add(diagnosis)
    return {said: diagnoses.pop() for said, diagnoses in meanings.items() if len(diagnoses) == 1 and said}


@cache
def _roots(dx: str) -> tuple[str, ...]:
    """Return the paths that a diagnosis covers, empty for one that the taxonomy does not have."""
    if dx == "akiec":
        return _roots("ak") + _roots("scc")
    if dx in ROOTS_OF_CODE:
        return tuple(_path_of_name()[root] for root in ROOTS_OF_CODE[dx])
    if dx in LABEL_OF_DX or _key(dx) not in _by_name():
        return ()
    return tuple(path for name, path in _path_of_name().items() if _stored(name) == dx)
