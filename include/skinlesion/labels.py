"""Read a table of diagnoses as its user wrote it, and say which rows cannot be used."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.diagnosis import normalise_dx
from skinlesion.errors import DataError
from skinlesion.image_file import SUFFIXES

REQUIRED: Final = ("image", "dx")
OPTIONAL: Final = {
    "lesion_id": "lesion_id",
    "patient_id": "patient_id",
    "age": "age",
    "age_approx": "age",
    "sex": "sex",
    "localization": "site",
    "anatom_site_general": "site",
    "site": "site",
    "source": "source",
}
"""Columns that are read when they are there, and their name in the catalog."""

ROWS_LISTED: Final = 10
"""So many rows are named in an error; the rest is counted."""

_LONGEST_NAME: Final = 200  # bytes: a file name holds 255, and suffixes of ours need some
_AUGMENTED: Final = re.compile(r"__aug\d+$")


def read_labels(path: Path) -> pd.DataFrame:
    """Read diagnoses.csv: image, dx, lesion_id, patient_id, age, sex, site, source, row, refused; one row an image.

    dx is lower case, age in years (NaN when not known), absent text is empty, `row` is the line in the file (the header
    is line 1), `refused` the reason why a row cannot be used; an image without a name is called `(row 7)`. A row that
    repeats another is dropped. Columns are found by name; order, case and blanks around names do not matter.

    Raises DataError when the file is missing, empty, not a table, lacks a required column, or gives an image two
    diagnoses, lesions or patients; every such row is named.
    """
    table = _read_csv(path)
    columns = {name: column for column in table.columns if (name := OPTIONAL.get(column))}
    labels = pd.DataFrame({"image": table["image"].str.strip(), "dx": table["dx"].map(normalise_dx)}, dtype="str")
    for name in ("lesion_id", "patient_id", "sex", "site", "source"):
        labels[name] = table[columns[name]].str.strip() if name in columns else ""
    labels["age"] = _ages(table[columns["age"]]) if "age" in columns else float("nan")
    labels["row"] = table.index + 2
    labels["image"] = _without_suffix(labels["image"])
    labels["refused"] = [_name_problem(image) for image in labels["image"]]
    # The catalog has one row an image; this name keeps each of them in it, and no picture can be meant by it.
    labels["image"] = labels["image"].where(labels["image"] != "", "(row " + labels["row"].astype("str") + ")")
    _refuse_two_meanings(labels, path)
    return labels.drop_duplicates("image").reset_index(drop=True).astype({"refused": "str"})


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(
            f"{path} is missing: expected a table with the columns {' and '.join(REQUIRED)}, one row an image "
            "(`image` is the file's name without its suffix)."
        )
    content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path} is empty: expected a header with {' and '.join(REQUIRED)}, then one row an image.")
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: not UTF-8 text. Save the table as CSV in UTF-8.") from None
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV table: {error}. Expected commas, and quotes in pairs.") from None
    header = [name.strip().lower() for name in rows[0]]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise DataError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"expected {' and '.join(REQUIRED)}, found: {', '.join(header)[:300]}."
        )
    repeated = sorted({name for name in header if name in (*REQUIRED, *OPTIONAL) and header.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has the column {', '.join(repeated)} more than once; expected each once.")
    body = rows[1:]
    ragged = [number for number, row in enumerate(body, start=2) if row and len(row) != len(header)]
    if ragged:
        raise DataError(
            f"{path}: {len(ragged)} rows have another number of fields than the header's {len(header)}: "
            f"rows {', '.join(map(str, ragged[:ROWS_LISTED]))}. Quote fields that hold a comma."
        )
    if not any(body):
        raise DataError(f"{path} has a header but no rows: expected one row an image.")
    kept = {number: row for number, row in enumerate(body) if row}
    return pd.DataFrame.from_dict(kept, orient="index", columns=header, dtype="str")


def _ages(text: pd.Series) -> pd.Series:
    years = pd.to_numeric(text.str.strip(), errors="coerce").astype("float64")
    return years.where(years.between(0, 130))


def _without_suffix(images: pd.Series) -> pd.Series:
    pattern = "(?:" + "|".join(re.escape(suffix) for suffix in sorted(SUFFIXES)) + ")$"
    return images.str.replace(pattern, "", case=False, regex=True)


def _refuse_two_meanings(labels: pd.DataFrame, path: Path) -> None:
    for column, what in (("dx", "diagnoses"), ("lesion_id", "lesions"), ("patient_id", "patients")):
        repeated = labels[labels["image"].duplicated(keep=False)]
        meanings = repeated.groupby("image")[column].nunique()
        torn = repeated[repeated["image"].isin(meanings[meanings > 1].index)].sort_values(["image", "row"])
        if torn.empty:
            continue
        listed = [
            f"row {row.row}: {row.image!r} {getattr(row, column)!r}" for row in torn.head(ROWS_LISTED).itertuples()
        ]
        more = f" and {len(torn) - ROWS_LISTED} more rows" if len(torn) > ROWS_LISTED else ""
        raise DataError(
            f"{path} gives {torn['image'].nunique()} images two {what}; expected one each. "
            f"{'; '.join(listed)}{more}. Remove the wrong rows."
        )


def _name_problem(image: str) -> str:
    if not image:
        return "the row has no image name"
    size = len(image.encode())
    if size > _LONGEST_NAME:
        return f"the image name has {size} bytes; at most {_LONGEST_NAME} are taken"
    if "/" in image or "\\" in image or image.startswith(".") or not image.isprintable():
        return "the image name holds a path separator, a leading dot or a control character; expected a plain file name"
    if _AUGMENTED.search(image):
        return "the image name ends as an augmented copy's does (__aug01); expected an original"
    return ""
