"""The tables of labels of a data set, and their rows under the names of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from skinlesion.data.labels.image_name import full_size_name
from skinlesion.data.labels.joined import Labels, join_tables
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError


def label_tables(dataset: Path) -> list[Path]:
    """Return the paths of diagnoses.csv and labels/*.csv, sorted by name. Raises DataError when there are none.

    A path that cannot be read as a table is among them, for whoever reads it to say so: labels without it would be others.
    """
    first, folder = layout.diagnoses(dataset), layout.labels(dataset)
    tables = [first] if os.path.lexists(first) else []
    if os.path.lexists(folder):
        try:
            names = os.listdir(folder)
        except OSError as error:
            raise DataError(
                f"{folder} cannot be listed ({error.strerror}): expected a folder with tables of labels."
            ) from None
        tables += sorted(folder / name for name in names if name.lower().endswith(".csv") and not name.startswith("."))
    if not tables:
        raise DataError(
            f"{first} is missing: expected a table with the columns image and dx, one row an image (`image` is the file's "
            f"name without its suffix), or tables of ISIC or HAM10000 as *.csv in {folder}."
        )
    return tables


def labels_of_dataset(config: DataSettings) -> Labels:
    """Return the joined tables of the data set. Where there is a diagnoses.csv, those in labels/ only add to it.

    Raises DataError as `label_tables` and `join_tables` do.
    """
    tables = label_tables(config.dataset)
    main = layout.diagnoses(config.dataset)
    supplements = [path for path in tables if path != main] if main in tables else []
    return join_tables(tables, supplements, config.actinic_keratosis)


def rows_of_files(rows: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the joined rows under the names of the files, without those that have no file and need none.

    A file that is the smaller copy (`_downsampled`) or the original of an image in the tables gets the row of that image;
    where both files are there, each gets it. names: the names of the files, without suffix.
    """
    names = names.astype("str")
    has_file = rows["image"].isin(names)
    unnamed = names[~names.isin(rows["image"])].drop_duplicates()
    other = pd.DataFrame({"full_size": full_size_name(unnamed), "other_name": unnamed})
    twins = rows.assign(full_size=full_size_name(rows["image"])).merge(other, on="full_size")
    named_anew = rows["image"].isin(twins["image"])
    kept = rows[has_file | (rows["expected"] & ~named_anew)]
    return pd.concat([kept, twins.assign(image=twins["other_name"])[list(rows)]], ignore_index=True)
