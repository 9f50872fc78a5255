"""From a diagnosis code (`dx`) to one of the three classes the model tells apart."""

from __future__ import annotations

from typing import Final

BENIGN: Final = "benign"
MALIGNANT: Final = "malignant"
UNKNOWN: Final = "unknown"

LABELS: Final = (BENIGN, MALIGNANT, UNKNOWN)
"""Class order everywhere: alphabetical, as Keras orders directories. The model's output i is LABELS[i]."""

# The ISIC Archive's own top level (Malignant / Benign / Indeterminate) for the codes of its challenges and HAM10000.
# Actinic keratosis is `Indeterminate` there. HAM10000's `akiec` mixes actinic keratosis with Bowen's disease, so it is
# not known which of the two an image shows.
LABEL_OF_DX: Final[dict[str, str]] = {
    "mel": MALIGNANT,
    "bcc": MALIGNANT,
    "scc": MALIGNANT,
    "nv": BENIGN,
    "bkl": BENIGN,
    "df": BENIGN,
    "vasc": BENIGN,
    "ak": UNKNOWN,
    "akiec": UNKNOWN,
    "unk": UNKNOWN,
    "unknown": UNKNOWN,
    "": UNKNOWN,
}


def label_of(dx: str) -> str:
    """Give the class of a diagnosis code; letters' case and surrounding blanks do not matter.

    A code that is not in `LABEL_OF_DX` is `unknown`; `is_recognised` tells the two apart so that it can be counted.
    """
    return LABEL_OF_DX.get(normalise_dx(dx), UNKNOWN)


def is_recognised(dx: str) -> bool:
    """Tell whether `label_of` knows the code rather than falling back to `unknown`."""
    return normalise_dx(dx) in LABEL_OF_DX


def normalise_dx(dx: str) -> str:
    """Give the code as the catalog stores it: lower case, no surrounding blanks."""
    return dx.strip().lower()
