"""The files of a version that people may see: known names, nothing outside its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from skinlesion.foundation import layout
from skinlesion.registry.model_files import (
    CHANGE_RECORD,
    CHANGE_RECORD_PAGE,
    DATA_REPORT,
    GALLERY,
    METRICS,
    MODEL_CARD,
    REPORT,
    VERDICT,
)
from skinlesion.registry.snapshot import Registry

KNOWN: Final = {
    REPORT: "Report",
    GALLERY: "Held-out images",
    DATA_REPORT: "Data report",
    MODEL_CARD: "Model card",
    CHANGE_RECORD_PAGE: "Change record",
    "confusion_matrix.png": "Confusion matrix",
    "roc.png": "ROC",
    "reliability.png": "Reliability",
    "history.png": "Training",
    METRICS: "Figures",
    VERDICT: "Verdict",
    CHANGE_RECORD: "Change record, as JSON",
}
"""Names and titles, in the order of a page."""


def report_file(registry: Registry, number: int, name: str) -> Path | None:
    """Return the path of a version's file; None unless it is one of `KNOWN`, a regular file, and within the candidates.

    Links are not followed, so no name and no link in models/ leads to another file.
    """
    version = next((version for version in registry.versions if version.number == number), None)
    if version is None or name not in KNOWN:
        return None
    path = layout.candidate(registry.models, version.run) / name
    inside = layout.candidates(registry.models).resolve()
    is_plain = path.is_file() and not path.is_symlink() and path.resolve().parent.parent == inside
    return path if is_plain else None


def report_files(registry: Registry, number: int) -> dict[str, Path]:
    """Return the files that a version has, by name, in the order of `KNOWN`."""
    found = {name: report_file(registry, number, name) for name in KNOWN}
    return {name: path for name, path in found.items() if path is not None}
