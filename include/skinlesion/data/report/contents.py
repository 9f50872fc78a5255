"""The figures of the data report, as JSON holds them. Every list is bounded, whatever the size of the catalog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import pandas as pd

from skinlesion.data import catalog as contract
from skinlesion.data.catalog import is_unmapped
from skinlesion.data.finding import Finding
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.report.class_counts import class_counts

ROWS_LISTED: Final = 100
"""Of diagnoses, sources and pairs; the rest is counted."""

REASONS_LISTED: Final = 50
REFUSED_LISTED: Final = 48
"""Refused files named, and shown where they can be; at most `_OF_A_REASON` of a reason, so that a rare one is seen."""

EXAMPLES: Final = 10

_OF_A_REASON: Final = 12
_REASON: Final = 300  # characters


class DuplicatePair(NamedTuple):
    """Two images that show the same picture, and how that is known."""

    first: str
    second: str
    how: str


def equal_files(catalog: pd.DataFrame) -> list[DuplicatePair]:
    """Give the pairs of accepted images whose files are equal; of three equal files, the first with each other one."""
    images = contract.accepted(catalog)
    twins = images.loc[images["sha256"].duplicated(keep=False), ["image", "sha256"]]
    first = twins.groupby("sha256")["image"].transform("first")
    others = twins["image"] != first
    return [
        DuplicatePair(str(one), str(other), "equal files")
        for one, other in sorted(zip(first[others], twins.loc[others, "image"], strict=True))
    ]


def near_duplicates(catalog: pd.DataFrame, pairs: pd.DataFrame) -> list[DuplicatePair]:
    """Give the pairs of accepted images that were found to show one picture. pairs: as `find_near_duplicates` gives."""
    names = contract.accepted(catalog).drop_duplicates("sha256").set_index("sha256")["image"]
    is_here = [(names.index.get_indexer(pd.Index(pairs[end])) >= 0) for end in ("first", "second")]
    here = pairs[is_here[0] & is_here[1]]
    ends = zip(names.loc[here["first"]], names.loc[here["second"]], here["likeness"], strict=True)
    return [
        DuplicatePair(min(one, other), max(one, other), f"near-duplicates, alike by {likeness:.2f}")
        for one, other, likeness in sorted(ends)
    ]


def contents(
    catalog: pd.DataFrame,
    images: pd.DataFrame,
    findings: list[Finding],
    duplicates: Iterable[DuplicatePair],
) -> dict[str, Any]:
    """Give the report of a catalog.

    catalog: `catalog.COLUMNS`. images: its accepted rows with the columns of `image_statistics.COLUMNS` as well.
    """
    refused = catalog[catalog["refused"] != ""]
    pairs = list(duplicates)
    verdicts = {finding.verdict for finding in findings}
    return {
        "data_version": contract.data_version(catalog),
        "verdict": next((verdict for verdict in ("failed", "accepted") if verdict in verdicts), "passed"),
        "images": len(images),
        "lesions": int(images["group"].nunique()),
        "refused": len(refused),
        "checks": [finding.as_dict() for finding in findings],
        "classes": [count._asdict() for count in class_counts(images)],
        "diagnoses": _by_diagnosis(images),
        "diagnoses_total": int(images["dx"].nunique()),
        "sources": _by_source(images),
        "sources_total": int(images["source"].nunique()),
        "unmapped": _unmapped(images),
        "refused_because": _reasons(refused),
        "refused_files": _refused_files(refused),
        "duplicates_total": len(pairs),
        "duplicates": [pair._asdict() for pair in pairs[:ROWS_LISTED]],
    }


def _by_diagnosis(images: pd.DataFrame) -> list[dict[str, Any]]:
    rows = images.groupby(["dx", "label"]).agg(
        images=("image", "size"), lesions=("group", "nunique"), held_out=("split", _held_out)
    )
    rows = rows.reset_index().sort_values(["images", "dx"], ascending=[False, True])
    rows["unmapped"] = is_unmapped(rows["dx"])
    return _records(rows)


def _by_source(images: pd.DataFrame) -> list[dict[str, Any]]:
    by_source = images.groupby("source")
    rows = by_source.agg(images=("image", "size"), lesions=("group", "nunique"), held_out=("split", _held_out))
    counts = images.groupby(["source", "label"]).size().unstack(fill_value=0)
    rows[list(LABELS)] = counts.reindex(columns=list(LABELS), fill_value=0)
    means = by_source[list(STATISTICS)].mean().round(1)
    rows[list(STATISTICS)] = means.astype("object").where(means.notna(), None)
    sides = images["width"].astype("str") + "x" + images["height"].astype("str")
    sizes = sides.groupby(images["source"]).agg(lambda of: of.value_counts().index[0])
    rows["usual_size"] = sizes
    rows["sizes"] = sides.groupby(images["source"]).nunique()
    return _records(rows.reset_index().sort_values(["images", "source"], ascending=[False, True]))


def _held_out(split: pd.Series) -> int:
    return int((split == contract.HELD_OUT).sum())


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.head(ROWS_LISTED).to_dict("records")]


def _unmapped(images: pd.DataFrame) -> list[dict[str, Any]]:
    rows = images[is_unmapped(images["dx"])]
    counts = rows["dx"].value_counts()
    return [
        {"dx": str(dx), "images": int(number), "examples": rows.loc[rows["dx"] == dx, "image"].head(EXAMPLES).tolist()}
        for dx, number in counts.head(ROWS_LISTED).items()
    ]


def _reasons(refused: pd.DataFrame) -> list[dict[str, Any]]:
    counts = (
        refused["refused"].str.slice(0, _REASON).value_counts().sort_index().sort_values(ascending=False, kind="stable")
    )
    return [{"reason": str(reason), "images": int(number)} for reason, number in counts.head(REASONS_LISTED).items()]


def _refused_files(refused: pd.DataFrame) -> list[dict[str, Any]]:
    files = refused[refused["file"] != ""]
    shown = files.groupby("refused").head(_OF_A_REASON).head(REFUSED_LISTED)
    named = zip(shown["image"], shown["file"], shown["refused"].str.slice(0, _REASON), strict=True)
    return [{"image": image, "file": file, "reason": reason} for image, file, reason in named]
