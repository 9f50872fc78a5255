"""The manifest: one row for each file of the training view, which training and evaluation read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.split import HELD_OUT, TRAIN, require_no_leak
from skinlesion.data.split_table import read_split, split_noted_in
from skinlesion.data.split_version import KnownSplit, SplitVersion
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import DamagedTable, read_table, write_table

COLUMNS: Final = {
    "file": "str",
    "image": "str",
    "label": "str",
    "split": "str",
    "copy": "int32",
    "dx": "str",
    "group": "str",
    "sha256": "str",
    "original": "str",
    "lesion": "str",
}
"""The columns of manifest.parquet, which is sorted by file.

`file` is relative to processed_images/output/; `copy` is 0 for an original, else the number of the augmented copy; `sha256` is
the hash of the file, which is the same for originals with the same pixels; `original` is that of the file in images/, and
`lesion` the image's own part of its group (see `split.own_groups`). The table notes the split that its sides come from.
"""


def read_manifest(dataset: Path) -> pd.DataFrame:
    """Return the manifest, columns `COLUMNS`. Raises DataError when organize has not written one, or it is damaged."""
    path = layout.manifest(dataset)
    try:
        return read_table(path, COLUMNS)
    except FileNotFoundError:
        what, first = f"{path} is missing", " first"
    except DamagedTable as error:
        what, first = str(error), ""
    raise DataError(f"{what}: expected the manifest that `skinlesion organize` writes. Run organize{first}.")


def trusted_manifest(dataset: Path, also: Iterable[KnownSplit]) -> tuple[pd.DataFrame, SplitVersion]:
    """Return the manifest and the split that its sides come from, for those who train on it or measure on it.

    also: the states of the split that the registry knows. Raises DataError when the split does not follow from what is known,
    LeakError when a lesion is on both sides.
    """
    manifest, version = read_manifest(dataset), split_noted_in(layout.manifest(dataset), "organize")
    read_split(dataset, also)
    require_clean_split(manifest)
    return manifest, version


def write_manifest(dataset: Path, manifest: pd.DataFrame, split: SplitVersion) -> bool:
    """Write the manifest if it changed; return whether it was written. Raises LeakError rather than write a leak.

    split: the state of split.parquet that the catalog's sides come from, which the manifest notes.
    """
    require_clean_split(manifest)
    return write_table(layout.manifest(dataset), manifest, COLUMNS, split.notes())


def require_clean_split(manifest: pd.DataFrame) -> None:
    """Raise LeakError when a lesion or a file is on both sides of the split, DataError when a held-out image is augmented.

    Training and evaluation call this on every run.
    """
    require_no_leak(manifest, ["group", "image", "sha256"])
    augmented = manifest[(manifest["split"] == HELD_OUT) & (manifest["copy"] > 0)]
    if not augmented.empty:
        raise DataError(
            f"{len(augmented)} held-out files are augmented copies, the first: {augmented['file'].iloc[0]}."
        )


def training_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows to train on. Raises DataError when there is none."""
    rows = manifest[manifest["split"] == TRAIN].reset_index(drop=True)
    if rows.empty:
        raise DataError("No image is left to train on: every lesion is held out or refused. Add labelled images.")
    return rows


def held_out_rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Return the rows to evaluate on. Raises DataError when there is none."""
    rows = manifest[manifest["split"] == HELD_OUT].reset_index(drop=True)
    if rows.empty:
        raise DataError(
            "No lesion is held out, so nothing can be measured: expected at least two lesions of one class. "
            "Add labelled images."
        )
    return rows


def version(rows: pd.DataFrame) -> str:
    """Return 16 hex digits that name these rows: their files' contents, labels and sides."""
    hashes = pd.util.hash_pandas_object(rows[["file", "sha256", "label", "dx", "split", "group"]], index=False)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()[:16]
