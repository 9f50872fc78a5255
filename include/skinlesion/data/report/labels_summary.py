"""What a set of tables becomes, without images: `skinlesion labels`."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skinlesion.data.catalog import HELD_OUT, SPLIT_COLUMNS, assign_groups, assign_sides, on_both_sides
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.diagnosis import is_recognised
from skinlesion.data.labels.joined import Labels
from skinlesion.data.labels.layouts import SHOWN
from skinlesion.foundation.tables import empty

_SHOWN: Final = 20


def fallback_counts(dx: pd.Series, listed: int) -> dict[str, int]:
    """Give the diagnoses that are `unknown` only because they are not recognised, and how many images each has.

    The most frequent first; those beyond `listed` are added up under `(others)`. A blank is none of them.
    """
    unheard: Counter[str] = Counter()
    for value, count in dx.value_counts(sort=False).items():
        if not is_recognised(str(value)):
            unheard[str(value)[:SHOWN]] += int(count)
    named = dict(unheard.most_common(listed))
    rest = unheard.total() - sum(named.values())
    return named | ({"(others)": rest} if rest else {})


def labels_summary(labels: Labels, held_out_fraction: float) -> dict[str, Any]:
    """Give what the tables become, JSON-able; counts are of images that can be used unless they say otherwise.

    `groups`: lesions, else patients, else images; `split`: what a first ingest of all these images would hold out, were no
    two files equal.
    """
    rows = labels.rows
    usable = rows[rows["refused"] == ""].assign(sha256="").reset_index(drop=True)
    usable["group"] = assign_groups(usable)
    split, _ = assign_sides(usable, empty(SPLIT_COLUMNS), held_out_fraction)
    usable["split"] = split
    kinds = usable["group"].drop_duplicates().str.split(":", n=1).str[0].value_counts()
    return {
        "rows": len(rows),
        "classes": {label: int((usable["label"] == label).sum()) for label in LABELS},
        "diagnoses": _counts(usable["dx"].where(usable["dx"] != "", "(blank)").str.slice(0, SHOWN)),
        "fallback": fallback_counts(usable["dx"], listed=1000),
        "blank": int((usable["dx"] == "").sum()),
        "groups": int(usable["group"].nunique()),
        "groups_by": {kind: int(kinds.get(kind, 0)) for kind in ("lesion", "patient", "image")},
        "sources": _counts(usable["source"].where(usable["source"] != "", "(not known)")),
        "split": {
            "held_out": int((split == HELD_OUT).sum()),
            "held_out_share": _share(usable["split"]),
            "classes": {str(name): _share(part) for name, part in usable.groupby("label")["split"]},
            "sources": {str(name): _share(part) for name, part in usable.groupby("source")["split"]},
            "groups_on_both_sides": len(on_both_sides(usable, "group")),
        },
        "layouts": labels.layouts,
        "refined": [
            {"from": coarser, "to": finer, "images": count} for (coarser, finer), count in labels.refined.most_common()
        ],
        "conflict_counts": dict(labels.conflict_counts),
        "conflicts": [
            {
                "image": conflict.image,
                "what": conflict.what,
                "values": [{"table": table, "row": row, "value": value} for table, row, value in conflict.values],
                "becomes": conflict.becomes,
            }
            for conflict in labels.conflicts
        ],
        "refused": len(rows) - len(usable),
        "refused_because": dict(Counter(rows.loc[rows["refused"] != "", "refused"]).most_common(100)),
    }


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Show a summary as a person reads it."""
    of_tables = Table("table", "layout")
    for name, layout in summary["layouts"].items():
        of_tables.add_row(_plain(name), layout)
    console.print(of_tables)
    rows, refused, groups = summary["rows"], summary["refused"], summary["groups_by"]
    console.print(f"{rows} images, {refused} of them refused; {summary['groups']} groups by", end=" ")
    console.print(", ".join(f"{kind} {count}" for kind, count in groups.items()))
    for title, counts in (("class", "classes"), ("source", "sources")):
        shares = summary["split"][counts]
        table = Table(title, "images", "held out")
        for name, count in summary[counts].items():
            share = shares.get("" if name == "(not known)" else name)
            table.add_row(_plain(name), str(count), "" if share is None else f"{share:.1%}")
        console.print(table)
    for title, counts in (
        ("diagnosis", "diagnoses"),
        ("not recognised: unknown", "fallback"),
        ("refused because", "refused_because"),
    ):
        _print_counts(title, summary[counts], console)
    for change in summary["refined"][:_SHOWN]:
        console.print(f"{change['images']} images: {change['from']} became {change['to']}", markup=False)
    for what, count in summary["conflict_counts"].items():
        console.print(f"{count} images have different {what} in the tables", markup=False)
    for conflict in summary["conflicts"][:_SHOWN]:
        said = ", ".join(f"{value['table']} row {value['row']} {value['value']!r}" for value in conflict["values"])
        console.print(f"  {conflict['image']}: {said}; {conflict['becomes']}", markup=False)


def _print_counts(title: str, counts: dict[str, int], console: Console) -> None:
    if not counts:
        return
    table = Table(title, "images")
    for name, count in list(counts.items())[:_SHOWN]:
        table.add_row(_plain(name), str(count))
    if len(counts) > _SHOWN:
        table.add_row(f"{len(counts) - _SHOWN} more", str(sum(list(counts.values())[_SHOWN:])))
    console.print(table)


def _plain(text: str) -> str:
    """Give a user's text without control characters and with its brackets, which would mark up the terminal."""
    return escape(repr(text)[1:-1][:300])


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}


def _share(split: pd.Series) -> float:
    return round(float((split == HELD_OUT).mean()), 4) if len(split) else 0.0
