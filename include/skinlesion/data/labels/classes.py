"""The three classes that the model distinguishes, and the class of each short code of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BENIGN: Final = "benign"
MALIGNANT: Final = "malignant"
UNKNOWN: Final = "unknown"

LABELS: Final = (BENIGN, MALIGNANT, UNKNOWN)
"""The order of the classes everywhere: alphabetical, as Keras orders directories. Output i of the model is LABELS[i]."""

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
"""The class of each short code. `skinlesion.data.labels.taxonomy` has the full names."""

ACTINIC_KERATOSIS: Final = frozenset({"ak", "akiec"})
"""The codes whose class the setting `actinic_keratosis` decides. The other half of `akiec` is Bowen's disease, which is
malignant: where actinic keratosis counts as malignant, all of `akiec` does."""


@dataclass(frozen=True)
class ClassCount:
    """The number of accepted images, and of lesions that they show, of a class on one side of the split."""

    label: str
    split: str
    images: int
    lesions: int
