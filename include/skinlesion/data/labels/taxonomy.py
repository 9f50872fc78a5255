"""The ISIC Archive's taxonomy of diagnoses: the short code and the class of a name, and which of two names is finer.

The names and their tree are those of the package `isic-metadata`; a name's first level (Malignant, Benign,
Indeterminate) gives its class.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final, NamedTuple

from isic_metadata.diagnosis_hierarchical import DiagnosisEnum

from skinlesion.data.labels.classes import BENIGN, LABEL_OF_DX, MALIGNANT, UNKNOWN

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

OTHER_NAMES: Final[dict[str, str]] = {
    "actinic keratosis": "Solar or actinic keratosis",
    "aimp": "Atypical intraepithelial melanocytic proliferation",
    "angiofibroma or fibrous papule": "Angiofibroma",
    "angioma": "Hemangioma",
    "acrochordon": "Fibroepithelial polyp",
    "atypical melanocytic proliferation": "Indeterminate melanocytic proliferations",
    "bowens disease": "Squamous cell carcinoma in situ, Bowens disease",
    "cafe-au-lait macule": "Cafe au lait macule or patch",
    "lichenoid keratosis": "Lichen planus like keratosis",
    "melanoma": "Malignant melanocytic proliferations (Melanoma)",
    "melanocytic nevus": "Nevus",
    "mucosal melanosis": "Mucosal melanotic macule",
    "nevus spilus": "Nevus, Spilus",
    "squamous cell carcinoma": "Squamous cell carcinoma, NOS",
    "vascular lesion": "Benign soft tissue proliferations - Vascular",
}
"""The archive's earlier words (`LegacyDxEnum` of isic-metadata), which ISIC 2020 uses, and their present names. `other` and
`adnexal tumor` are not here, because no class follows from them."""

_CLASS_OF_TOP: Final = {"Malignant": MALIGNANT, "Benign": BENIGN, "Indeterminate": UNKNOWN}


class Diagnosis(NamedTuple):
    """A diagnosis of the taxonomy: `dx` as the catalog stores it, and its class."""

    dx: str
    label: str


def find(name: str) -> Diagnosis | None:
    """Return the diagnosis of a name at any level of the taxonomy, or of a path of names joined by `:`; None for other words.

    Case, surrounding and repeated blanks, underscores for blanks, and apostrophes do not matter.
    """
    return _by_name().get(_key(name))


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


def _key(name: str) -> str:
    return re.sub(r"[\s_]+", " ", re.sub("['\u2019]", "", name)).strip().lower()


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
        diagnosis = Diagnosis(_key(name) if code is None else code, _CLASS_OF_TOP[levels[0]])
        found[_key(name)] = found[_key(path)] = diagnosis
    for word, name in OTHER_NAMES.items():
        found.setdefault(word, found[_key(name)])
    return found


@cache
def _roots(dx: str) -> tuple[str, ...]:
    """Return the paths that a diagnosis covers, empty for one that the taxonomy does not have."""
    if dx == "akiec":
        return _roots("ak") + _roots("scc")
    if dx in ROOTS_OF_CODE:
        return tuple(_path_of_name()[root] for root in ROOTS_OF_CODE[dx])
    if dx in LABEL_OF_DX or dx not in _by_name():
        return ()
    return tuple(path for name, path in _path_of_name().items() if _key(name) == dx)
