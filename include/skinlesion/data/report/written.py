"""Where the data report lies, and when it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pandas as pd

from skinlesion.data import catalog as contract
from skinlesion.data.finding import Finding
from skinlesion.data.report import pictures as drawn
from skinlesion.data.report.contents import DuplicatePair, contents
from skinlesion.data.report.page import Pictures, Sheet, render
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.spreadsheet import csv_text

PAIRS_SHOWN: Final = 24
"""Pairs of duplicates whose pictures are shown; further ones are named."""


def write_report(
    config: DataSettings,
    page: Path,
    catalog: pd.DataFrame,
    images: pd.DataFrame,
    findings: list[Finding],
    duplicates: Iterable[DuplicatePair],
) -> None:
    """Write the report of a catalog to page (.html) and, first, its figures beside it (.json).

    catalog, images: as for `contents`. duplicates: pairs that show the same picture.
    """
    report = contents(catalog, images, findings, duplicates)
    shown = _pictures(config, catalog, images, report)
    atomic.write_if_changed(page.with_suffix(".json"), json.dumps(report, indent=1).encode())
    atomic.write_if_changed(page, render(report, shown).encode())


def write_failed_report(
    config: DataSettings,
    catalog: pd.DataFrame,
    images: pd.DataFrame,
    findings: list[Finding],
    duplicates: Iterable[DuplicatePair],
) -> tuple[Path, Path]:
    """Write the report of a catalog that did not pass, and a table of every row concerned; give the paths of both."""
    page = layout.failed_data_report(config.dataset)
    rows = [
        (finding.check, finding.title, *row)
        for finding in findings
        if finding.verdict == "failed"
        for row in finding.rows
    ]
    table = csv_text(("check", "title", "image", "file", "why"), rows)
    atomic.write_if_changed(page.with_suffix(".csv"), table.encode())
    write_report(config, page, catalog, images, findings, duplicates)
    return page, page.with_suffix(".csv")


def remove_failed_report(dataset: Path) -> None:
    """Remove what an earlier run left of data that did not pass."""
    for suffix in (".html", ".json", ".csv"):
        layout.failed_data_report(dataset).with_suffix(suffix).unlink(missing_ok=True)


def is_reported(dataset: Path, catalog: pd.DataFrame) -> bool:
    """Tell whether the report is there and is that of this catalog."""
    report = read_report(dataset)
    return report is not None and _key(report) == _key_of(catalog)


def copy_report(dataset: Path, catalog: pd.DataFrame, target: Path) -> dict[str, Any] | None:
    """Copy the page to where a model's report can link to it; give its name, verdict and the checks that failed.

    None, and no copy, where the report is not there or is not that of this catalog.
    """
    report = read_report(dataset)
    if report is None or _key(report) != _key_of(catalog):
        return None
    atomic.write_if_changed(target, layout.data_report(dataset).read_bytes())
    beyond = [check["found"] for check in report["checks"] if check["verdict"] == "accepted"]
    return {"file": target.name, "verdict": report["verdict"], "beyond": beyond}


def read_report(dataset: Path) -> dict[str, Any] | None:
    """Give the figures of the catalog in force; None where the report is not there whole."""
    page = layout.data_report(dataset)
    try:
        report: dict[str, Any] = json.loads(page.with_suffix(".json").read_text())
        _key(report)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return report if page.is_file() else None


def _key(report: dict[str, Any]) -> tuple[str, int]:
    return report["data_version"], report["refused"]


def _key_of(catalog: pd.DataFrame) -> tuple[str, int]:
    return contract.data_version(catalog), int((catalog["refused"] != "").sum())


def _pictures(config: DataSettings, catalog: pd.DataFrame, images: pd.DataFrame, report: dict[str, Any]) -> Pictures:
    folder = layout.images(config.dataset)
    limits = {"max_pixels": config.max_image_pixels, "workers": config.workers_used()}
    sheets = []
    for label, rows in drawn.chosen(images).items():
        if not rows.empty:
            files = rows["file"].tolist()
            sheets.append(Sheet(label, rows["image"].tolist(), drawn.contact_sheet(folder, files, **limits)))

    def shown(files: dict[str, str]) -> dict[str, bytes]:
        small = drawn.thumbnails(folder, list(files.values()), **limits)
        return {image: jpeg for image, jpeg in zip(files, small, strict=True) if jpeg is not None}

    paired = {image for pair in report["duplicates"][:PAIRS_SHOWN] for image in (pair["first"], pair["second"])}
    rows = catalog[catalog["image"].isin(paired)]
    return Pictures(
        sheets,
        shown({row["image"]: row["file"] for row in report["refused_files"]}),
        shown(dict(zip(rows["image"], rows["file"], strict=True))),
    )
