"""The data that the model was trained and measured on, and what could not be used."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pandas as pd

from skinlesion.data.catalog import accepted, class_counts, data_version
from skinlesion.data.derived_files import COLUMNS as FILE_COLUMNS
from skinlesion.data.finding import LinkedReport
from skinlesion.data.report.labels_summary import fallback_counts
from skinlesion.data.split import SPLITS, on_both_sides
from skinlesion.foundation import layout
from skinlesion.foundation.settings import Folders
from skinlesion.foundation.tables import BucketTable
from skinlesion.foundation.wording import counted
from skinlesion.registry.metrics_record import DataSummary, DiagnosisCount, RefusedImage

REFUSED_LISTED: Final = 1000
DIAGNOSES_LISTED: Final = 60
RECORDED: Final = ("lesion_id", "patient_id", "age", "sex", "site", "dx_type", "source")


def data_summary(config: Folders, catalog: pd.DataFrame, notes: list[str], report: LinkedReport | None) -> DataSummary:
    """Return counts by class and by diagnosis, which columns are recorded, and what was refused.

    notes: sentences to add to those about the data. report: the data report beside metrics.json.
    """
    usable = accepted(catalog)
    resized = BucketTable(layout.tables(config.dataset, "resize"), FILE_COLUMNS).read()
    refused = pd.concat(
        [
            catalog.loc[catalog["refused"] != "", ["image", "refused"]],
            resized.loc[resized["refused"] != "", ["image", "refused"]],
        ]
    ).rename(columns={"refused": "reason"})
    return DataSummary(
        version=data_version(catalog),
        counts=class_counts(usable),
        diagnoses=_diagnoses(usable),
        recorded_share={name: _recorded_share(usable[name]) for name in RECORDED},
        refused=[
            RefusedImage(image=str(row.image), reason=str(row.reason))
            for row in refused.head(REFUSED_LISTED).itertuples()
        ],
        refused_total=len(refused),
        refused_by_reason=dict(Counter(refused["reason"]).most_common(50)),
        notes=[*_notes(usable), *notes],
        report=report,
    )


def _diagnoses(usable: pd.DataFrame) -> list[DiagnosisCount]:
    """Return the most frequent diagnoses with their counts by side and the class that each counts as."""
    table = usable.groupby(["dx", "label"])["split"].value_counts().unstack("split", fill_value=0)
    table = table.reindex(columns=list(SPLITS), fill_value=0)
    order = table.sum(axis=1).sort_values(ascending=False, kind="stable").index
    rows = table.loc[order].head(DIAGNOSES_LISTED).reset_index().to_dict("records")
    return [
        DiagnosisCount(dx=row["dx"], label=row["label"], train=int(row["train"]), held_out=int(row["held_out"]))
        for row in rows
    ]


def _recorded_share(column: pd.Series) -> float:
    known = column.notna() if column.dtype.kind == "f" else column != ""
    return float(known.mean()) if len(column) else 0.0


def _notes(usable: pd.DataFrame) -> list[str]:
    lesions, files = len(on_both_sides(usable, "group")), len(on_both_sides(usable, "sha256"))
    both = f"{counted(lesions, 'lesion')} and {counted(files, 'file')}"
    notes = [f"{both} are on both sides of the split (checked in this run)."]
    fallback = fallback_counts(usable["dx"], listed=100)
    if fallback:
        named = ", ".join(f"{dx} ({count})" for dx, count in fallback.items())
        notes.append(f"Diagnoses that were not recognised count as unknown: {named}.")
    return notes
