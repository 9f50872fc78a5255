"""The data report as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from skinlesion.data.catalog import HELD_OUT, SPLITS, TRAIN
from skinlesion.foundation import html_page

_SIDES: Final = {TRAIN: "Training", HELD_OUT: "Held out"}


@dataclass(frozen=True)
class Sheet:
    """A class's contact sheet: the JPEG, and the images on it in their order."""

    label: str
    images: list[str]
    jpeg: bytes


@dataclass(frozen=True)
class Pictures:
    """What is shown: by class; of refused files and of duplicates by the image's name, JPEG, where they can be shown."""

    sheets: list[Sheet] = field(default_factory=list)
    refused: dict[str, bytes] = field(default_factory=dict)
    duplicates: dict[str, bytes] = field(default_factory=dict)


def render(report: dict[str, Any], pictures: Pictures) -> str:
    """Give the page. report: from `contents.contents`; every text of it may come from the user's files and is escaped."""
    environment = html_page.environment(Path(__file__).with_name("templates"))
    by_class = {(row["label"], row["split"]): row for row in report["classes"]}
    labels = list(dict.fromkeys(row["label"] for row in report["classes"]))
    classes = [(label, [by_class[label, split] for split in SPLITS]) for label in labels]
    return environment.get_template("data_report.html.j2").render(
        report=report,
        checks=sorted(report["checks"], key=lambda check: check["verdict"] not in ("failed", "accepted")),
        pictures=pictures,
        sides=[_SIDES[split] for split in SPLITS],
        classes=classes,
        totals=[
            {name: sum(by_class[label, split][name] for label in labels) for name in ("images", "lesions")}
            for split in SPLITS
        ],
        labels=labels,
        in_classes={label: sum(row["images"] for row in cells) for label, cells in classes},
    )
