"""What the model was trained and measured on, and what could not be used."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any, Final

import pandas as pd

from skinlesion.data.catalog import accepted, class_counts, data_version
from skinlesion.data.derived_files import COLUMNS as FILE_COLUMNS
from skinlesion.data.report.labels_summary import fallback_counts
from skinlesion.data.split import SPLITS, on_both_sides
from skinlesion.foundation import layout
from skinlesion.foundation.settings import Folders
from skinlesion.foundation.tables import BucketTable

REFUSED_LISTED: Final = 1000
DIAGNOSES_LISTED: Final = 60
RECORDED: Final = ("lesion_id", "patient_id", "age", "sex", "site", "source")


def data_summary(config: Folders, catalog: pd.DataFrame) -> dict[str, Any]:
    """Give counts by class and by diagnosis, what is recorded of the images, and what was refused, as plain JSON."""
    usable = accepted(catalog)
    resized = BucketTable(layout.tables(config.dataset, "resize"), FILE_COLUMNS).read()
    refused = pd.concat(
        [
            catalog.loc[catalog["refused"] != "", ["image", "refused"]],
            resized.loc[resized["refused"] != "", ["image", "refused"]],
        ]
    ).rename(columns={"refused": "reason"})
    return {
        "version": data_version(catalog),
        "counts": [asdict(count) for count in class_counts(usable)],
        "diagnoses": _diagnoses(usable),
        "recorded_share": {name: _recorded_share(usable[name]) for name in RECORDED},
        "refused": refused.head(REFUSED_LISTED).to_dict("records"),
        "refused_total": len(refused),
        "refused_by_reason": dict(Counter(refused["reason"]).most_common(50)),
        "notes": _notes(usable),
    }


def _diagnoses(usable: pd.DataFrame) -> list[dict[str, Any]]:
    """Give images a diagnosis and side, and the class that the diagnosis counts as; the most frequent first."""
    table = usable.groupby(["dx", "label"])["split"].value_counts().unstack("split", fill_value=0)
    table = table.reindex(columns=list(SPLITS), fill_value=0)
    order = table.sum(axis=1).sort_values(ascending=False, kind="stable").index
    rows = table.loc[order].head(DIAGNOSES_LISTED).reset_index().to_dict("records")
    return [{"dx": row["dx"], "label": row["label"], **{split: int(row[split]) for split in SPLITS}} for row in rows]


def _recorded_share(column: pd.Series) -> float:
    known = column.notna() if column.dtype.kind == "f" else column != ""
    return float(known.mean()) if len(column) else 0.0


def _notes(usable: pd.DataFrame) -> list[str]:
    lesions, files = len(on_both_sides(usable, "group")), len(on_both_sides(usable, "sha256"))
    notes = [f"{lesions} lesions and {files} files lie on both sides of the split (checked in this run)."]
    fallback = fallback_counts(usable["dx"], listed=100)
    if fallback:
        named = ", ".join(f"{dx} ({count})" for dx, count in fallback.items())
        notes.append(f"Diagnoses that were not recognised count as unknown: {named}.")
    blank = int((usable["dx"] == "").sum())
    if blank:
        notes.append(f"{blank} images have no diagnosis and count as unknown.")
    return notes
