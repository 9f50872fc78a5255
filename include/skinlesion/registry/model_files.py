"""The names of the files of a model: of a candidate, in models/candidates/<run>/, and of a release, in models/releases/.

This is the only list of them. A release has its own name for LiteRT's file, since it is also reached directly under models/.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from skinlesion.foundation.layout import TRAINED_MODEL

H5: Final = f"{TRAINED_MODEL}.h5"
"""The model as the recipe's users know it."""

KERAS: Final = "model.keras"
"""The model in Keras's own format; not part of a release."""

TFLITE_OF_CANDIDATE: Final = "model.tflite"
TFLITE: Final = f"{TRAINED_MODEL}.tflite"
"""The model as LiteRT runs it, of a release."""

RECORD: Final = f"{TRAINED_MODEL}.json"
"""What a release holds and since when it is in service."""

RULE_FILE: Final = "decision_rule.json"
DISTANCE_FILE: Final = "feature_distance.npz"
"""What distances are computed with; beside the rule, which names it."""

LEARNT_FILE: Final = "learnt_pictures.npz"
"""Hashes of the pictures that the model learnt from."""

TRAINING: Final = "training.json"
"""How the candidate was made."""

REGISTERED: Final = "registered.json"
"""The numbers under which the candidate is registered, should the registry's own file be lost."""

TRAINED_ON: Final = "trained_on.parquet"
METRICS: Final = "metrics.json"
"""What evaluate measured."""

PREDICTIONS: Final = "predictions.parquet"
"""The answers for the held-out images."""

PICTURE_STATISTICS: Final = "picture_statistics.parquet"
"""Measures of the held-out images as the model saw them, with which the monitor compares images in use."""

VERDICT: Final = "verdict.json"
"""What the gate said."""

CHANGE_RECORD: Final = "change_record.json"
CHANGE_RECORD_PAGE: Final = "change_record.html"
"""What a version changes against the one in service, and who decided; the same as a page."""

REPORT: Final = "report.html"
GALLERY: Final = "gallery.html"
"""The held-out images, where they are too many for the report."""
DATA_REPORT: Final = "data_report.html"
MODEL_CARD: Final = "model_card.md"


def released(sha256: Mapping[str, str]) -> dict[str, str]:
    """Return the SHA-256 of a candidate's files that a release has, by their names there."""
    return {TFLITE if name == TFLITE_OF_CANDIDATE else name: one for name, one in sha256.items() if name != KERAS}
