"""Catalogs that tests write by what their rows have of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import pandas as pd

from skinlesion.data.catalog import COLUMNS
from skinlesion.data.labels.diagnosis import label_of

Rows = Sequence[Mapping[str, object]]


def catalog_of(rows: Rows) -> pd.DataFrame:
    """Return a catalog, of whose rows `rows` says what differs from an accepted naevus of a lesion of its own."""
    given = {"size": 9, "width": 600, "height": 450, "format": "JPEG", "dx": "nv", "split": "train", "age": 50.0}
    table = pd.DataFrame([{"image": f"I{at:04d}"} | given | dict(row) for at, row in enumerate(rows)])
    for name in COLUMNS:
        if name not in table:
            table[name] = ""
    table = table.fillna({name: "" for name, dtype in COLUMNS.items() if dtype == "str"})
    table["file"] = table["file"].where(table["file"] != "", table["image"] + ".jpg")
    unhashed = [hashlib.sha256(image.encode()).hexdigest() for image in table["image"]]
    table["sha256"] = table["sha256"].where(table["sha256"] != "", unhashed)
    table["group"] = table["group"].where(table["group"] != "", "image:" + table["image"])
    table["label"] = [label_of(dx) for dx in table["dx"]]
    table.loc[table["refused"] != "", ["split", "group"]] = ""
    return table[list(COLUMNS)].astype(COLUMNS)
