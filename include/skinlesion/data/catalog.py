"""The catalog: one row an image, with its diagnosis, its class, its group and its side of the split."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.labels.classes import LABELS, ClassCount
from skinlesion.data.labels.diagnosis import is_recognised
from skinlesion.data.split import SPLITS, require_no_leak
from skinlesion.data.split_table import split_noted_in
from skinlesion.data.split_version import SplitVersion
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import DamagedTable, read_table, write_table

POOL: Final = "pool"
"""The side of an image that has no diagnosis yet: nothing trains on it, is measured on it or counts it."""

COLUMNS: Final = {
    "image": "str",
    "file": "str",
    "sha256": "str",
    "size": "int64",
    "width": "int32",
    "height": "int32",
    "format": "str",
    "dx": "str",
    "label": "str",
    "lesion_id": "str",
    "patient_id": "str",
    "group": "str",
    "split": "str",
    "age": "float64",
    "sex": "str",
    "site": "str",
    "dx_type": "str",
    "source": "str",
    "refused": "str",
}
"""The columns of catalog.parquet, which is sorted by image.

`file` is relative to images/; `refused` is the reason, empty for an accepted image and for one that waits for a diagnosis
(`split` is `POOL`, `label` is empty). Text that is not known is empty, numbers are 0 (age: NaN).
"""


def read_catalog(dataset: Path) -> pd.DataFrame:
    """Return the catalog, columns `COLUMNS`. Raises DataError when ingest has not written one, or it is damaged."""
    path = layout.catalog(dataset)
    try:
        return read_table(path, COLUMNS)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: expected the catalog that `skinlesion ingest` writes. Run ingest first."
        ) from None
    except DamagedTable as error:
        raise damaged(error) from None


def damaged(error: DamagedTable) -> DataError:
    """Return what a person does about a catalog that cannot be read."""
    return DataError(
        f"{error}. Expected the catalog that `skinlesion ingest` wrote, with which it compares new data. Restore it from a "
        "backup. Or remove it and run ingest: that writes it anew, and the new data are compared with nothing that night."
    )


def write_catalog(dataset: Path, catalog: pd.DataFrame, split: SplitVersion) -> bool:
    """Check the catalog against its contract and write it if it changed; return whether it was written.

    split: the state of split.parquet that its sides come from, which it notes.
    """
    _require_contract(catalog)
    require_no_leak(accepted(catalog), ["group", "sha256"])
    return write_table(layout.catalog(dataset), catalog, COLUMNS, split.notes())


def split_of_catalog(dataset: Path) -> SplitVersion:
    """Return the split that the sides of the catalog come from. Raises DataError when the catalog does not say."""
    return split_noted_in(layout.catalog(dataset), "ingest")


def accepted(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that are trained on or measured on: not refused, and with a diagnosis."""
    return catalog[(catalog["refused"] == "") & (catalog["split"] != POOL)]


def waiting(catalog: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images that wait for a diagnosis."""
    return catalog[catalog["split"] == POOL]


def data_version(catalog: pd.DataFrame) -> str:
    """Return 16 hex digits that name the accepted images, their labels and their sides."""
    rows = pd.util.hash_pandas_object(accepted(catalog)[["image", "sha256", "label", "split"]], index=False)
    return hashlib.sha256(rows.to_numpy().tobytes()).hexdigest()[:16]


def class_counts(images: pd.DataFrame) -> list[ClassCount]:
    """Return the counts of every class on each side of the split, also of those without images.

    images: accepted rows of a catalog.
    """
    counts = images.groupby(["label", "split"])["group"].agg(images="size", lesions="nunique")
    return [
        ClassCount(label, split, *(int(counts[column].get((label, split), 0)) for column in ("images", "lesions")))
        for label in LABELS
        for split in SPLITS
    ]


def is_unmapped(dx: pd.Series) -> pd.Series:
    """Return, for each diagnosis, whether it became `unknown` because nobody knows the code."""
    return ~dx.map({code: is_recognised(code) for code in dx.unique()}).astype(bool)


def _require_contract(catalog: pd.DataFrame) -> None:
    """Raise ValueError with the broken rules and an image of each, when a fault of the program made the catalog."""
    is_waiting, is_trained_on = catalog["split"] == POOL, catalog["split"].isin(SPLITS)
    rules = {
        "image is a name, each once": (catalog["image"] != "") & ~catalog["image"].duplicated(keep=False),
        "label is a class": catalog["label"].isin((*LABELS, "")),
        "split is a side": is_waiting | is_trained_on | (catalog["split"] == ""),
        "all but the age is filled in": catalog.drop(columns="age").notna().all(axis=1),
        "age is from 0 to 130": catalog["age"].isna() | catalog["age"].between(0, 130),
        "an accepted image has a hash, a class and a side, one that waits for a diagnosis a hash alone": (
            (catalog["refused"] != "")
            | (catalog["sha256"] != "")
            & ((is_waiting & (catalog["label"] == "")) | (is_trained_on & catalog["label"].isin(LABELS)))
        ),
    }
    broken = [f"{rule}: not {catalog['image'][~kept].iloc[0]}" for rule, kept in rules.items() if not kept.all()]
    if broken or set(catalog) != set(COLUMNS):
        raise ValueError(
            f"The catalog, columns {', '.join(map(str, catalog))}, breaks its contract: {'; '.join(broken)}"
        )
