"""The data report as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from skinlesion.data.report.contents import DataReport
from skinlesion.data.split import HELD_OUT, SPLITS, TRAIN
from skinlesion.foundation import html_page

_SIDES: Final = {TRAIN: "Training", HELD_OUT: "Held out"}


@dataclass(frozen=True)
class ContactSheet:
    """The contact sheet of a class: the JPEG, and the names of its images in their order."""

    label: str
    images: list[str]
    jpeg: bytes


@dataclass(frozen=True)
class Thumbnails:
    """What is shown: contact sheets, and a JPEG by the image's name of refused files and of duplicates."""

    sheets: list[ContactSheet] = field(default_factory=list)
    refused: dict[str, bytes] = field(default_factory=dict)
    duplicates: dict[str, bytes] = field(default_factory=dict)


def render(report: DataReport, thumbnails: Thumbnails) -> str:
    """Return the page. Every text of the report may come from the user's files and is escaped."""
    environment = html_page.environment(Path(__file__).with_name("templates"))
    by_class = {(row.label, row.split): row for row in report.classes}
    labels = list(dict.fromkeys(row.label for row in report.classes))
    classes = [(label, [by_class[label, split] for split in SPLITS]) for label in labels]
    by_side = [[row for row in report.classes if row.split == split] for split in SPLITS]
    return environment.get_template("data_report.html.j2").render(
        report=report,
        checks=sorted(report.checks, key=lambda check: check.verdict not in ("failed", "accepted")),
        thumbnails=thumbnails,
        sides=[_SIDES[split] for split in SPLITS],
        classes=classes,
        totals=[
            {"images": sum(row.images for row in rows), "lesions": sum(row.lesions for row in rows)} for rows in by_side
        ],
        labels=labels,
        in_classes={label: sum(row.images for row in cells) for label, cells in classes},
    )
