"""The layouts of tables of diagnoses that are in use, recognised by their columns and read in the project's own terms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from skinlesion.data.labels.cells import LOST_DIGITS, each_number, each_text, given, given_ids, years
from skinlesion.data.labels.collection import ISIC_2020, collection_of_lesion, collection_of_number
from skinlesion.data.labels.csv_file import ROWS_LISTED
from skinlesion.data.labels.diagnosis_columns import SHOWN, DiagnosisColumns, diagnoses
from skinlesion.data.labels.image_name import composed, full_size_name, name_problems, without_folder, without_suffix
from skinlesion.data.labels.table_file import read_cells
from skinlesion.data.labels.taxonomy import refines
from skinlesion.data.labels.vocabulary import Vocabulary
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted

IMAGE_COLUMNS: Final = (
    "image", "image_id", "image_name", "isic_id", "img_id", "derm", "md5hash", "ddi_file", "file", "filename", "file_name",
    "image_file", "image_path", "path", "img", "imageid", "bcn_filename",
)  # fmt: skip
"""The columns for the image's name; the first of these that a table has is read."""

OF_LESION: Final = "lesion_id"
"""The column of the image's name where a table has one row a lesion (MILK10k): another table says which images show it."""

FIELD_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "lesion_id": ("lesion_id", "lesionid", "case_num"),
    "patient_id": ("patient_id", "patientid", "patient", "subject_id"),
    "age": ("age", "age_approx", "age_approximate"),
    "sex": ("sex", "gender"),
    "site": (
        "site", "localization", "anatom_site_general", "anatom_site_general_challenge", "anatom_site_1", "region",
        "location", "body_site",
    ),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "source": ("source",),
    "attribution": ("attribution",),
}  # fmt: skip
"""What a table may have of an image beside its diagnosis, and the columns for it; the first that a table has is read."""

_MARKED: Final = {
    "milk10k": ("akiec", "bcc", "ben_oth", "bkl", "df", "inf", "mal_oth", "mel", "nv", "sccka", "vasc"),
    "isic-2019": ("mel", "nv", "bcc", "ak", "bkl", "df", "vasc", "scc", "unk"),
    "isic-2018": ("mel", "nv", "bcc", "akiec", "bkl", "df", "vasc", "scc", "unk"),
    "isic-2017": ("melanoma", "seborrheic_keratosis"),
    "ph2": ("common_nevus", "atypical_nevus", "melanoma"),
}
"""Layouts with a column for each diagnosis; the first is meant of which all are there, except `_MAY_LACK`."""

_MAY_LACK: Final = frozenset({"scc", "unk"})
_LEVELS: Final = ("diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5")
_LEVELS_2024: Final = ("iddx_1", "iddx_2", "iddx_3", "iddx_4", "iddx_5")
_CLASSES: Final = ("benign_malignant", "three_partition_label", "target", "malignant")
_SEX: Final = {"m": "male", "f": "female", "man": "male", "woman": "female", "w": "female"}

_MAY_BE_ID: Final = {
    "lesion": r"lesion.*(?:id|nr|num|no)(?![a-z])|^(?:lesion|mole)$",
    "patient": r"(?:patient|subject|person|case).*(?:id|nr|num|no)(?![a-z])|^(?:pid|mrn|pseudonym)$",
}
_WORDS_NAMED: Final = 5

TEXTS: Final = (
    "lesion_id", "patient_id", "sex", "site", "dx_type", "source", "attribution", "lesion_collection", "collection",
)  # fmt: skip
ROW_COLUMNS: Final = ("image", "full_size", "dx", "age", *TEXTS, "row", "refused")


class Layout(NamedTuple):
    """The meaning of a table's columns.

    Attributes:
        name: as docs/reference/labels.md has it.
        image: the column of the image's name.
        diagnosis: the columns of the diagnosis.
        fields: the column of each of `FIELD_COLUMNS` that the table has.
    """

    name: str
    image: str
    diagnosis: DiagnosisColumns
    fields: dict[str, str]


class LabelTable(NamedTuple):
    """A table in the project's own terms.

    Attributes:
        rows: `ROW_COLUMNS`, one row an image; text that is not known is empty, `age` is in years or NaN. `full_size` is the
            image's name without the mark of a smaller copy; `dx` is as in the catalog; `row` is the record's number in the
            file (the header is 1); `refused` is why the row cannot be used; `lesion_collection` is the source by the
            lesion's id, and `collection` the source by the image's number or the layout.
        notes: sentences on what was taken for a missing id.
    """

    path: Path
    layout: Layout
    rows: pd.DataFrame
    notes: tuple[str, ...]


def recognise(header: list[str], path: Path) -> Layout:
    """Return the layout of a table with these columns, as `column_name` writes them. Raises DataError when it is not known."""
    image = _first_in(IMAGE_COLUMNS, header)
    if image is None and _ways(header, "") and "lesion_id" in header:
        image = OF_LESION
    fields = {field: name for field, names in FIELD_COLUMNS.items() if (name := _first_in(names, header))}
    ways = _ways(header, image or "")
    if image is None or not (ways or fields):
        missing = [name for name, lacks in (("image", image is None), ("dx", not ways)) if lacks]
        raise DataError(f"{path} {lacks_columns(missing, header)}")
    if len(ways) > 1:
        columns = " and in ".join(", ".join(way.names) for way in ways.values())
        raise DataError(f"{path} gives diagnoses in the columns {columns}; expected one way. Remove the others.")
    if ways:
        [(name, diagnosis)] = ways.items()
        return Layout(name, image, diagnosis, fields)
    is_of_2019 = image == "image" and {"age_approx", "anatom_site_general"} <= set(fields.values())
    return Layout("isic-2019-metadata" if is_of_2019 else "metadata", image, DiagnosisColumns("none"), fields)


def _ways(header: list[str], image: str) -> dict[str, DiagnosisColumns]:
    """Return each way in which a table gives diagnoses, by the layout's name."""
    ways: dict[str, DiagnosisColumns] = {}
    if "dx" in header:
        ways["ham10000" if image == "image_id" else "own"] = DiagnosisColumns("text", ("dx",))
    for name, marks in _MARKED.items():
        if set(marks) - _MAY_LACK <= set(header):
            ways[name] = DiagnosisColumns("marks", tuple(mark for mark in marks if mark in header))
            break
    classes = tuple(name for name in _CLASSES if name in header)
    if "diagnosis_1" in header:
        ways["isic-archive"] = DiagnosisColumns("levels", tuple(name for name in _LEVELS if name in header))
    elif "iddx_1" in header or "iddx_full" in header:
        levels = tuple(name for name in _LEVELS_2024 if name in header) or ("iddx_full",)
        ways["isic-2024"] = DiagnosisColumns("levels", levels, tuple(name for name in classes if name == "target"))
    elif "diagnostic" in header:
        ways["pad-ufes-20"] = DiagnosisColumns("text", ("diagnostic",))
    elif "md5hash" in header and "label" in header:
        ways["fitzpatrick17k"] = DiagnosisColumns("class", ("label",), classes)
    elif "dx" not in header and ("diagnosis" in header or classes):
        by_image = {"image_name": "isic-2020", "isic_id": "isic-archive", "derm": "derm7pt", "ddi_file": "ddi"}
        text = ("disease",) if "disease" in header and "diagnosis" not in header else ("diagnosis",)
        names = tuple(name for name in text if name in header)
        ways[by_image.get(image, "own")] = DiagnosisColumns("class", names, classes)
    return ways


def lacks_columns(missing: list[str], header: list[str]) -> str:
    """Return the sentences on what a table lacks, what was expected and what was found."""
    return (
        f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
        f"expected image and dx, found: {', '.join(header)[:300]}. Or the columns of a table of ISIC 2017 to 2024, of "
        "HAM10000 or of the ISIC Archive: docs/reference/labels.md lists them."
    )


def read_table(path: Path, vocabulary: Vocabulary | None = None) -> LabelTable:
    """Return a table of any known layout.

    A row that repeats another is dropped; rows of one image that add to each other all stay. An image without a name gets the
    name `(row 7)`. vocabulary: the user's own words.

    Raises DataError as `read_cells` does, when the layout is not known, or when the table gives an image two diagnoses,
    lesions or patients; every such row is named.
    """
    layouts: list[Layout] = []
    notes: list[str] = []

    def choose(header: list[str]) -> list[str]:
        layout = recognise(header, path)
        layouts.append(layout)
        notes.extend(_unread_ids(header, layout, path))
        return list(dict.fromkeys([layout.image, *layout.diagnosis.all, *layout.fields.values()]))

    def is_header(names: list[str]) -> bool:
        return _first_in(IMAGE_COLUMNS, names) is not None

    cells = read_cells(path, choose, is_header)
    [layout] = layouts
    rows = _in_own_terms(cells, layout, vocabulary or Vocabulary())
    _refuse_two_meanings(rows, path)
    rows = rows.drop_duplicates([name for name in ROW_COLUMNS if name not in ("row", "image")], ignore_index=True)
    return LabelTable(path, layout, rows, (*notes, *_notes(cells, layout, path)))


def of_images(tables: list[LabelTable]) -> list[LabelTable]:
    """Return the tables with one row an image each: those of lesions get a row for each image that the others say shows it.

    Raises DataError when no other table has images of a table's lesions.
    """
    of_images = [table for table in tables if table.layout.image != OF_LESION]
    if len(of_images) == len(tables):
        return tables
    shown = [table.rows.loc[table.rows["lesion_id"] != "", ["image", "full_size", "lesion_id"]] for table in of_images]
    images = pd.concat(shown).drop_duplicates("full_size") if shown else None
    expanded = []
    for table in tables:
        rows = table.rows
        if table.layout.image == OF_LESION:
            rows = rows.drop(columns=["image", "full_size"])
            rows = rows.iloc[:0] if images is None else rows.merge(images, on="lesion_id")[list(table.rows)]
            if rows.empty:
                raise DataError(
                    f"{table.path} has one row a lesion and no column for the image, and no other table says which images show "
                    "these lesions: expected one with an image and its lesion_id."
                )
        expanded.append(table._replace(rows=rows))
    return expanded


def _in_own_terms(cells: pd.DataFrame, layout: Layout, vocabulary: Vocabulary) -> pd.DataFrame:
    dx, problem = diagnoses(cells, layout.diagnosis, vocabulary)
    names = without_suffix(without_folder(cells[layout.image].str.strip().map(composed).astype("str")))
    rows = pd.DataFrame({"image": names, "dx": dx})
    for field in FIELD_COLUMNS:
        column = layout.fields.get(field)
        if field == "age":
            rows[field] = float("nan") if column is None else each_number(cells[column], years)
        elif column is None:
            rows[field] = ""
        else:
            rows[field] = (given_ids if field in ("lesion_id", "patient_id") else given)(cells[column])
    rows["sex"] = each_text(rows["sex"], lambda sex: _SEX.get(sex.lower(), sex.lower()))
    rows["row"] = cells["row"]
    named = name_problems(rows["image"])
    rows["refused"] = named.where(named != "", problem)
    # The catalog has one row an image; with this name each such row stays in it, and no file can have the name.
    rows["image"] = rows["image"].where(rows["image"] != "", "(row " + rows["row"].astype("str") + ")")
    rows["full_size"] = full_size_name(rows["image"])
    rows["lesion_collection"] = collection_of_lesion(rows["lesion_id"])
    numbered = ISIC_2020 if layout.name == "isic-2020" else ""
    rows["collection"] = numbered or collection_of_number(rows["full_size"])
    texts = [name for name in ROW_COLUMNS if name not in ("age", "row")]
    return rows[list(ROW_COLUMNS)].astype(dict.fromkeys(texts, "str"))


def _unread_ids(header: list[str], layout: Layout, path: Path) -> list[str]:
    """Return a sentence on columns that may be ids and are not read, such as the `lesion_id_x` of a merge."""
    lacking = [kind for kind in ("lesion", "patient") if f"{kind}_id" not in layout.fields]
    unread = [name for name in header if any(re.search(_MAY_BE_ID[kind], name) for kind in lacking)]
    if not unread:
        return []
    named, wanted = ", ".join(unread)[:SHOWN], " or ".join(f"{kind}_id" for kind in lacking)
    return [f"{path.name}: not read: {named}. If it says which images show one lesion or patient, call it {wanted}."]


def _notes(cells: pd.DataFrame, layout: Layout, path: Path) -> list[str]:
    """Return sentences on ids that were taken for missing values. Raises DataError when a spreadsheet rounded an id."""
    notes = []
    for field in ("lesion_id", "patient_id"):
        if not (column := layout.fields.get(field)):
            continue
        values = cells[column].str.strip()
        rounded = values.str.fullmatch(LOST_DIGITS.pattern)
        if rounded.any():
            first = int(rounded.to_numpy().argmax())
            raise DataError(
                f"{path}, row {cells['row'].iloc[first]}: {column} is {values.iloc[first]!r}, and so in "
                f"{counted(int(rounded.sum()), 'row')} in all: a spreadsheet has rounded these numbers, and different ids may have become one. Export the column as text."
            )
        dropped = values[(given_ids(values) == "") & (values != "")].value_counts()
        notes += [
            f"{path.name}: {column} {str(word)[:SHOWN]!r} in {counted(count, 'row')} counts as not known."
            for word, count in dropped.head(_WORDS_NAMED).items()
        ]
    return notes


def _first_in(names: tuple[str, ...], header: list[str]) -> str | None:
    return next((name for name in names if name in header), None)


def _refuse_two_meanings(rows: pd.DataFrame, path: Path) -> None:
    repeated = rows[rows["full_size"].duplicated(keep=False)]
    for column, what in (("dx", "diagnoses"), ("lesion_id", "lesions"), ("patient_id", "patients")):
        stated = repeated[repeated[column] != ""]
        meanings = stated.groupby("full_size")[column].agg(set)
        disagree = [
            image for image, found in meanings.items() if len(found) > 1 and not (column == "dx" and _agree(found))
        ]
        torn = stated[stated["full_size"].isin(disagree)].sort_values(["full_size", "row"])
        if torn.empty:
            continue
        listed = [
            f"row {row.row}: {str(row.image)[:SHOWN]!r} {getattr(row, column)[:SHOWN]!r}"
            for row in torn.head(ROWS_LISTED).itertuples()
        ]
        more = f" and {counted(len(torn) - ROWS_LISTED, 'more row')}" if len(torn) > ROWS_LISTED else ""
        raise DataError(
            f"{path} gives {counted(torn['full_size'].nunique(), 'image')} two {what}; expected one each. "
            f"{'; '.join(listed)}{more}. Remove the wrong rows."
        )


def _agree(diagnoses: set[str]) -> bool:
    """Return whether one of the diagnoses is a finer name for all others."""
    return any(all(refines(finer, coarser) for coarser in diagnoses) for finer in diagnoses)
