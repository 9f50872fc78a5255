"""What tables of labels become, without images: `skinlesion labels`."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pandas as pd
from pydantic import ConfigDict, Field
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import is_recognised
from skinlesion.data.labels.diagnosis_columns import SHOWN
from skinlesion.data.labels.joined import Conflict, Labels
from skinlesion.data.labels.spelling import may_be_malignant
from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, assign_groups, assign_sides
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.foundation.tables import empty
from skinlesion.foundation.terminal import print_whole
from skinlesion.foundation.wording import counted

_LINES_SHOWN: Final = 20
_REASONS_LISTED: Final = 100
_WIDEST: Final = 50
"""Columns of a terminal for a user's words; longer ones are broken."""
_NOT_KNOWN: Final = "(not known)"


class SplitSummary(RecordPart):
    """What a first ingest of all images would hold out, if no two files were equal: their number, and shares."""

    held_out: int
    held_out_share: float
    classes: dict[str, float]
    sources: dict[str, float]


class Refinement(RecordPart):
    """The number of images to which one table gives a finer diagnosis than another."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    coarser: str = Field(validation_alias="from", serialization_alias="from")
    finer: str = Field(validation_alias="to", serialization_alias="to")
    images: int


class LabelsSummary(Record):
    """What tables of labels become. Counts are of images that can be used and have a diagnosis, unless they say otherwise.

    Attributes:
        rows: number of images in the tables, refused ones too.
        fallback: diagnoses that count as unknown because they are not recognised.
        waiting: number of images without a diagnosis.
        groups_by: number of groups that are a lesion, else a patient, else an image.
        refused_because: number of refused images by reason.
        notes: sentences on how ids and names were read.
    """

    rows: int
    classes: dict[str, int]
    diagnoses: dict[str, int]
    fallback: dict[str, int]
    waiting: int
    groups: int
    groups_by: dict[str, int]
    sources: dict[str, int]
    split: SplitSummary
    layouts: dict[str, str]
    refined: list[Refinement]
    conflict_counts: dict[str, int]
    conflicts: list[Conflict]
    refused: int
    refused_because: dict[str, int]
    notes: list[str]


def fallback_counts(dx: pd.Series, listed: int) -> dict[str, int]:
    """Return the diagnoses that are `unknown` only because they are not recognised, and the number of images of each.

    The most frequent come first; those beyond `listed` are added up under `(others)`.
    """
    unrecognised: Counter[str] = Counter()
    for value, count in dx.value_counts(sort=False).items():
        if not is_recognised(str(value)):
            unrecognised[str(value)[:SHOWN]] += int(count)
    named = dict(unrecognised.most_common(listed))
    rest = unrecognised.total() - sum(named.values())
    return named | ({"(others)": rest} if rest else {})


def labels_summary(labels: Labels, held_out_fraction: float) -> LabelsSummary:
    """Return what the tables become."""
    rows = labels.rows
    is_refused, is_blank = rows["refused"] != "", rows["dx"] == ""
    usable = rows[~is_refused & ~is_blank].assign(sha256="").reset_index(drop=True)
    usable["group"] = assign_groups(usable)
    usable["split"], _ = assign_sides(usable, empty(DECISION_COLUMNS), held_out_fraction)
    kinds = usable["group"].drop_duplicates().str.split(":", n=1).str[0].value_counts()
    return LabelsSummary(
        rows=len(rows),
        classes={label: int((usable["label"] == label).sum()) for label in LABELS},
        diagnoses=_counts(usable["dx"].str.slice(0, SHOWN)),
        fallback=fallback_counts(usable["dx"], listed=1000),
        waiting=int((is_blank & ~is_refused).sum()),
        groups=usable["group"].nunique(),
        groups_by={kind: int(kinds.get(kind, 0)) for kind in ("lesion", "patient", "image")},
        sources=_counts(usable["source"].where(usable["source"] != "", _NOT_KNOWN)),
        split=SplitSummary(
            held_out=int((usable["split"] == HELD_OUT).sum()),
            held_out_share=_share(usable["split"]),
            classes={str(name): _share(part) for name, part in usable.groupby("label")["split"]},
            sources={str(name): _share(part) for name, part in usable.groupby("source")["split"]},
        ),
        layouts=labels.layouts,
        refined=[
            Refinement(coarser=coarser, finer=finer, images=count)
            for (coarser, finer), count in labels.refined.most_common()
        ],
        conflict_counts=dict(labels.conflict_counts),
        conflicts=labels.conflicts,
        refused=int(is_refused.sum()),
        refused_because=dict(Counter(rows.loc[is_refused, "refused"]).most_common(_REASONS_LISTED)),
        notes=labels.notes,
    )


def print_summary(summary: LabelsSummary, console: Console) -> None:
    """Show a summary as a person reads it."""
    of_tables = Table(Column("table", max_width=_WIDEST), "layout")
    for name, layout in summary.layouts.items():
        of_tables.add_row(_plain(name), layout)
    by = ", ".join(f"{kind} {count}" for kind, count in summary.groups_by.items())
    print_whole(
        console,
        of_tables,
        f"\n{counted(summary.rows, 'image')}, {summary.refused} of them refused, {summary.waiting} without a diagnosis; {summary.groups} groups "
        f"by {by}",
    )
    for title, counts, shares in (
        ("class", summary.classes, summary.split.classes),
        ("source", summary.sources, summary.split.sources),
    ):
        table = Table(
            Column(title, max_width=_WIDEST), Column("images", justify="right"), Column("held out", justify="right")
        )
        for name, count in counts.items():
            share = shares.get("" if name == _NOT_KNOWN else name)
            table.add_row(_plain(name), str(count), "" if share is None else f"{share:.1%}")
        print_whole(console, "", table)
    _print_counts("diagnosis", summary.diagnoses, console)
    _print_counts("not recognised: unknown", summary.fallback, console)
    if malignant := [word for word in summary.fallback if may_be_malignant(word)]:
        print_whole(
            console,
            f"\n{len(malignant)} of these words may name a malignant disease or deny one; a run stops until the data set's "
            "labels/vocabulary.csv (columns word, dx) says what each means.",
        )
    for note in summary.notes:
        print_whole(console, _plain(note))
    _print_counts("refused because", summary.refused_because, console)
    if summary.refined or summary.conflict_counts:
        print_whole(console, "")
    for change in summary.refined[:_LINES_SHOWN]:
        print_whole(console, f"{counted(change.images, 'image')}: {change.coarser} became {change.finer}")
    for what, count in summary.conflict_counts.items():
        print_whole(console, f"{counted(count, 'image')} with different {what} in the tables")
    for conflict in summary.conflicts[:_LINES_SHOWN]:
        values = ", ".join(map(str, conflict.values))
        print_whole(console, f"  {conflict.image}: {values}; {conflict.becomes}", indent=4)


def _print_counts(title: str, counts: dict[str, int], console: Console) -> None:
    if not counts:
        return
    table = Table(Column(title, max_width=_WIDEST), Column("images", justify="right"))
    for name, count in list(counts.items())[:_LINES_SHOWN]:
        table.add_row(_plain(name), str(count))
    if len(counts) > _LINES_SHOWN:
        table.add_row(f"{len(counts) - _LINES_SHOWN} more", str(sum(list(counts.values())[_LINES_SHOWN:])))
    print_whole(console, "", table)


def _plain(text: str) -> str:
    """Return a user's text without control characters and with its brackets, which would mark up the terminal."""
    return escape(repr(text)[1:-1][:300])


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _share(split: pd.Series) -> float:
    return round(float((split == HELD_OUT).mean()), 4) if len(split) else 0.0
