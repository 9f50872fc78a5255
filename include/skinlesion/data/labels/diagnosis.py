"""From a diagnosis (`dx`) to one of the three classes that the model distinguishes."""

from __future__ import annotations

from skinlesion.data.labels.cells import is_missing
from skinlesion.data.labels.classes import ACTINIC_KERATOSIS, LABEL_OF_DX, MALIGNANT, UNKNOWN
from skinlesion.data.labels.taxonomy import find


def label_of(dx: str, actinic_keratosis: str = "indeterminate") -> str:
    """Return the class of a diagnosis: a short code, or a name of the ISIC Archive's taxonomy at any level.

    Case and surrounding blanks do not matter. A diagnosis that is not recognised is `unknown`, and `is_recognised` returns
    False for it, so that it can be counted. actinic_keratosis: the setting of this name.
    """
    code = normalise_dx(dx)
    if code not in LABEL_OF_DX:
        found = find(code)
        if found is None:
            return UNKNOWN
        if found.dx not in LABEL_OF_DX:
            return found.label
        code = found.dx
    return MALIGNANT if actinic_keratosis == MALIGNANT and code in ACTINIC_KERATOSIS else LABEL_OF_DX[code]


def is_recognised(dx: str) -> bool:
    """Return whether `label_of` recognises the diagnosis, instead of falling back to `unknown`."""
    code = normalise_dx(dx)
    if code in LABEL_OF_DX:
        return True
    return find(code) is not None


def canonical_dx(dx: str) -> str:
    """Return a diagnosis as the catalog stores it: the short code where there is one, else the name in lower case.

    `Melanoma Invasive` is `mel`; `Lentigo NOS`, which has no code, is `lentigo nos`; so is what is not recognised.
    """
    code = normalise_dx(dx)
    if code in LABEL_OF_DX:
        return code
    found = find(code)
    return code if found is None else found.dx


def normalise_dx(dx: str) -> str:
    """Return the diagnosis in lower case, without surrounding blanks; empty where a word says that there is none."""
    code = dx.strip().lower()
    return "" if code not in LABEL_OF_DX and is_missing(code) else code
