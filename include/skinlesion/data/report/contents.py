"""The figures of the data report. Every list is bounded, whatever the size of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import pandas as pd

from skinlesion.data.catalog import accepted, class_counts, data_version, is_unmapped, waiting
from skinlesion.data.finding import CheckResult, Finding, Verdict
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.labels.classes import LABELS, ClassCount
from skinlesion.data.split import HELD_OUT
from skinlesion.foundation.record import Record, RecordPart

ROWS_LISTED: Final = 100
"""Number of diagnoses, sources and pairs that are listed; the rest is counted."""

REASONS_LISTED: Final = 50
REFUSED_LISTED: Final = 48
"""Number of refused files that are named, and shown where they can be."""

_FILES_LISTED_A_REASON: Final = 12  # so that a rare reason is seen beside a frequent one
_REASON_LENGTH: Final = 300  # characters
_EXAMPLES: Final = 10


@dataclass(frozen=True, slots=True)
class DuplicatePair:
    """Two images that are duplicates of each other, and how that is known."""

    first: str
    second: str
    how: str


class DiagnosisCount(RecordPart):
    """A diagnosis of accepted images, the class that it counts as, and whether that is only because nobody knows it."""

    dx: str
    label: str
    images: int
    lesions: int
    held_out: int
    unmapped: bool


class SourceSummary(RecordPart):
    """The accepted images of a source: their number, also by class, the means of their statistics, and their sizes.

    The means are None where no image of the source has statistics.
    """

    source: str
    images: int
    lesions: int
    held_out: int
    benign: int
    malignant: int
    unknown: int
    brightness: float | None
    brightness_spread: float | None
    red: float | None
    red_spread: float | None
    green: float | None
    green_spread: float | None
    blue: float | None
    blue_spread: float | None
    saturation: float | None
    usual_size: str
    sizes: int


class UnmappedDiagnosis(RecordPart):
    """A diagnosis that is not recognised, and images that have it."""

    dx: str
    images: int
    examples: list[str]


class ReasonCount(RecordPart):
    """A reason for which images were refused."""

    reason: str
    images: int


class RefusedFile(RecordPart):
    """An image file that was refused."""

    image: str
    file: str
    reason: str


class DataReport(Record):
    """The figures of a catalog: data_report.json.

    Attributes:
        verdict: `failed` if a check failed, else `accepted` if the run was asked to accept a failure, else `passed`.
        refused: number of rows and files that were refused.
        waiting: number of images that wait for a diagnosis; they are in no other figure.
        notes: sentences on how ids, names and files of labels were read.
    """

    remedy: ClassVar[str] = "Remove the file and run ingest again, which writes it anew."

    data_version: str
    verdict: Verdict
    images: int
    lesions: int
    refused: int
    waiting: int
    notes: list[str]
    checks: list[CheckResult]
    classes: list[ClassCount]
    diagnoses: list[DiagnosisCount]
    diagnoses_total: int
    sources: list[SourceSummary]
    sources_total: int
    unmapped: list[UnmappedDiagnosis]
    refused_because: list[ReasonCount]
    refused_files: list[RefusedFile]
    duplicates_total: int
    duplicates: list[DuplicatePair]


def equal_files(catalog: pd.DataFrame) -> list[DuplicatePair]:
    """Return the pairs of accepted images whose files are equal; of three equal files, the first with each other one."""
    images = accepted(catalog)
    twins = images.loc[images["sha256"].duplicated(keep=False), ["image", "sha256"]]
    first = twins.groupby("sha256")["image"].transform("first")
    others = twins["image"] != first
    return [
        DuplicatePair(str(one), str(other), "equal files")
        for one, other in sorted(zip(first[others], twins.loc[others, "image"], strict=True))
    ]


def near_duplicates(catalog: pd.DataFrame, pairs: pd.DataFrame) -> list[DuplicatePair]:
    """Return the pairs of accepted images that are near-duplicates. pairs: as `find_near_duplicates` returns them."""
    names = accepted(catalog).drop_duplicates("sha256").set_index("sha256")["image"]
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
    findings: Sequence[Finding],
    duplicates: Sequence[DuplicatePair],
    notes: Sequence[str] = (),
) -> DataReport:
    """Return the report of a catalog.

    catalog: `catalog.COLUMNS`. images: its accepted rows, with the columns of `images.statistics.COLUMNS` as well. notes:
    sentences on how the labels were read.
    """
    refused = catalog[catalog["refused"] != ""]
    verdicts = {finding.verdict for finding in findings}
    verdict: Verdict = "failed" if "failed" in verdicts else "accepted" if "accepted" in verdicts else "passed"
    return DataReport(
        data_version=data_version(catalog),
        verdict=verdict,
        images=len(images),
        lesions=images["group"].nunique(),
        refused=len(refused),
        waiting=len(waiting(catalog)),
        notes=list(notes),
        checks=[finding.result() for finding in findings],
        classes=class_counts(images),
        diagnoses=_by_diagnosis(images),
        diagnoses_total=images["dx"].nunique(),
        sources=_by_source(images),
        sources_total=images["source"].nunique(),
        unmapped=_unmapped(images),
        refused_because=_reasons(refused),
        refused_files=_refused_files(refused),
        duplicates_total=len(duplicates),
        duplicates=list(duplicates[:ROWS_LISTED]),
    )


def _by_diagnosis(images: pd.DataFrame) -> list[DiagnosisCount]:
    rows = images.groupby(["dx", "label"]).agg(
        images=("image", "size"), lesions=("group", "nunique"), held_out=("split", _held_out)
    )
    rows = rows.reset_index().sort_values(["images", "dx"], ascending=[False, True])
    rows["unmapped"] = is_unmapped(rows["dx"])
    return [DiagnosisCount.model_validate(row) for row in rows.head(ROWS_LISTED).to_dict("records")]


def _by_source(images: pd.DataFrame) -> list[SourceSummary]:
    by_source = images.groupby("source")
    rows = by_source.agg(images=("image", "size"), lesions=("group", "nunique"), held_out=("split", _held_out))
    counts = images.groupby(["source", "label"]).size().unstack(fill_value=0)
    rows[list(LABELS)] = counts.reindex(columns=list(LABELS), fill_value=0)
    means = by_source[list(STATISTICS)].mean().round(1)
    rows[list(STATISTICS)] = means.astype("object").where(means.notna(), None)
    sizes = images["width"].astype("str") + "x" + images["height"].astype("str")
    rows["usual_size"] = sizes.groupby(images["source"]).agg(lambda of_source: of_source.value_counts().index[0])
    rows["sizes"] = sizes.groupby(images["source"]).nunique()
    rows = rows.reset_index().sort_values(["images", "source"], ascending=[False, True])
    return [SourceSummary.model_validate(row) for row in rows.head(ROWS_LISTED).to_dict("records")]


def _held_out(split: pd.Series) -> int:
    return int((split == HELD_OUT).sum())


def _unmapped(images: pd.DataFrame) -> list[UnmappedDiagnosis]:
    rows = images[is_unmapped(images["dx"])]
    counts = rows["dx"].value_counts().head(ROWS_LISTED)
    return [
        UnmappedDiagnosis(
            dx=str(dx), images=int(number), examples=rows.loc[rows["dx"] == dx, "image"].head(_EXAMPLES).tolist()
        )
        for dx, number in counts.items()
    ]


def _reasons(refused: pd.DataFrame) -> list[ReasonCount]:
    counts = refused["refused"].str.slice(0, _REASON_LENGTH).value_counts()
    counts = counts.sort_index().sort_values(ascending=False, kind="stable").head(REASONS_LISTED)
    return [ReasonCount(reason=str(reason), images=int(number)) for reason, number in counts.items()]


def _refused_files(refused: pd.DataFrame) -> list[RefusedFile]:
    files = refused[refused["file"] != ""]
    listed = files.groupby("refused").head(_FILES_LISTED_A_REASON).head(REFUSED_LISTED)
    named = zip(listed["image"], listed["file"], listed["refused"].str.slice(0, _REASON_LENGTH), strict=True)
    return [RefusedFile(image=image, file=file, reason=reason) for image, file, reason in named]
