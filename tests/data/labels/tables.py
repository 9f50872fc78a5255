"""Tables that tests write, and the values that they have when they are joined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from skinlesion.data.labels.joined import Labels
from skinlesion.data.labels.layouts import read_table
from skinlesion.foundation import layout

Join = Callable[..., Labels]
"""From the contents of table1.csv, table2.csv, ... to the labels; `supplements` are numbers of tables."""


def write_tables(folder: Path, contents: Iterable[str | bytes]) -> list[Path]:
    """Write table1.csv, table2.csv, ... and return their paths."""
    paths = []
    for number, content in enumerate(contents, start=1):
        paths.append(folder / f"table{number}.csv")
        paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


def reviewed(dataset: Path) -> dict[str, str]:
    """Return the diagnoses of labels/review.csv, by image."""
    if not layout.review_table(dataset).exists():
        return {}
    rows = read_table(layout.review_table(dataset)).rows
    return dict(zip(rows["image"], rows["dx"], strict=True))


def values(labels: Labels, *columns: str) -> list[list[object]]:
    """Return the values of these columns, row by row."""
    rows: list[list[object]] = labels.rows[list(columns)].to_numpy().tolist()
    return rows
