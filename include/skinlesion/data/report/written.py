"""The data report on disk: where it lies, when it is written, and how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.catalog import data_version, waiting
from skinlesion.data.finding import Finding, LinkedReport
from skinlesion.data.report import thumbnails
from skinlesion.data.report.contents import DataReport
from skinlesion.data.report.page import ContactSheet, Thumbnails, render
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import set_aside
from skinlesion.foundation.spreadsheet import csv_text

PAIRS_SHOWN: Final = 24
"""Number of pairs of duplicates that are shown; further ones are named."""


def write_report(
    config: DataSettings, page: Path, report: DataReport, catalog: pd.DataFrame, images: pd.DataFrame
) -> None:
    """Write a report as a page (.html) and, first, its figures beside it (.json). catalog, images: as for `contents`."""
    for file in (page, page.with_suffix(".json")):
        set_aside(file)
    shown = _thumbnails(config, catalog, images, report)
    report.write(page.with_suffix(".json"))
    atomic.write_if_changed(page, render(report, shown).encode())


def write_table_of_failures(page: Path, findings: Sequence[Finding]) -> Path:
    """Write a table of every image that a failed check is about beside the report; return its path."""
    rows = [
        (finding.check, finding.title, row.image, row.file, row.why)
        for finding in findings
        if finding.verdict == "failed"
        for row in finding.rows
    ]
    table = csv_text(("check", "title", "image", "file", "why"), rows)
    atomic.write_if_changed(page.with_suffix(".csv"), table.encode())
    return page.with_suffix(".csv")


def remove_failed_report(dataset: Path) -> None:
    """Remove the report that an earlier run wrote of data that did not pass."""
    for suffix in (".html", ".json", ".csv"):
        layout.failed_data_report(dataset).with_suffix(suffix).unlink(missing_ok=True)


def copy_report(dataset: Path, catalog: pd.DataFrame, target: Path) -> LinkedReport | None:
    """Copy the page to where a model's report can link to it, and return what that report says of it.

    Return None, and copy nothing, where the report is not there or is not that of this catalog.
    """
    report = report_of(dataset, catalog)
    if report is None:
        return None
    atomic.write_if_changed(target, layout.data_report(dataset).read_bytes())
    beyond = [check.found for check in report.checks if check.verdict == "accepted"]
    return LinkedReport(file=target.name, verdict=report.verdict, beyond=beyond)


def report_of(dataset: Path, catalog: pd.DataFrame) -> DataReport | None:
    """Return the figures of this catalog; None where the report is of another one, or is not there whole."""
    page = layout.data_report(dataset)
    try:
        report = DataReport.read(page.with_suffix(".json"))
    except (OSError, DataError):
        return None
    now = (data_version(catalog), int((catalog["refused"] != "").sum()), len(waiting(catalog)))
    is_same = (report.data_version, report.refused, report.waiting) == now
    return report if is_same and page.is_file() else None


def _thumbnails(config: DataSettings, catalog: pd.DataFrame, images: pd.DataFrame, report: DataReport) -> Thumbnails:
    folder = layout.images(config.dataset)
    limits = {"max_pixels": config.max_image_pixels, "workers": config.workers_used()}
    sheets = []
    for label, rows in thumbnails.chosen(images).items():
        if not rows.empty:
            jpeg = thumbnails.contact_sheet(folder, rows["file"].tolist(), **limits)
            sheets.append(ContactSheet(label, rows["image"].tolist(), jpeg))

    def shown(files: dict[str, str]) -> dict[str, bytes]:
        small = thumbnails.thumbnails(folder, list(files.values()), **limits)
        return {image: jpeg for image, jpeg in zip(files, small, strict=True) if jpeg is not None}

    paired = {image for pair in report.duplicates[:PAIRS_SHOWN] for image in (pair.first, pair.second)}
    rows = catalog[catalog["image"].isin(paired)]
    return Thumbnails(
        sheets,
        shown({refused.image: refused.file for refused in report.refused_files}),
        shown(dict(zip(rows["image"], rows["file"], strict=True))),
    )
