"""The layouts of tables of diagnoses that are in use, recognised by their columns and read in the project's own terms."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.images.file import SUFFIXES
from skinlesion.data.labels.classes import BENIGN, MALIGNANT, UNKNOWN
from skinlesion.data.labels.collection import ISIC_2020, collection_of_lesion, collection_of_number
from skinlesion.data.labels.csv_file import ROWS_LISTED, read_csv
from skinlesion.data.labels.diagnosis import canonical_dx, is_recognised, label_of
from skinlesion.data.labels.image_name import full_size_name
from skinlesion.foundation.errors import DataError

OWN: Final = "own"
HAM10000: Final = "ham10000"
ISIC_2018: Final = "isic-2018"
ISIC_2019: Final = "isic-2019"
ISIC_2019_METADATA: Final = "isic-2019-metadata"
ISIC_2020_LAYOUT: Final = "isic-2020"
ISIC_ARCHIVE: Final = "isic-archive"
METADATA: Final = "metadata"

IMAGE_COLUMNS: Final = ("image", "image_id", "image_name", "isic_id")
"""The columns for the image's name; the first of these that a table has is read."""

FIELD_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id",),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "site": ("site", "localization", "anatom_site_general", "anatom_site_general_challenge", "anatom_site_1"),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "source": ("source",),
    "attribution": ("attribution",),
}
"""What a table may have of an image beside its diagnosis, and the columns for it; the first that a table has is read."""

ONE_HOT_CODES: Final = ("mel", "nv", "bcc", "ak", "akiec", "bkl", "df", "vasc", "scc", "unk")
_ONE_HOT_ALWAYS: Final = frozenset({"mel", "nv", "bcc", "bkl", "df", "vasc"})
_LEVELS: Final = ("diagnosis_1", "diagnosis_2", "diagnosis_3", "diagnosis_4", "diagnosis_5")
_TARGET: Final = ("diagnosis", "benign_malignant", "target")

NOT_GIVEN: Final = frozenset({"", "unknown", "na", "n/a", "nan", "none", "null", "-"})
"""Words for a value that is not known. Taken for an id, they would make one lesion of all such images."""

SHOWN: Final = 80
"""Number of characters of a value in a message."""

TEXTS: Final = (
    "lesion_id", "patient_id", "sex", "site", "dx_type", "source", "attribution", "lesion_collection", "collection",
)  # fmt: skip
ROW_COLUMNS: Final = ("image", "full_size", "dx", "age", *TEXTS, "row", "refused")

_LONGEST_NAME: Final = 200  # bytes: a file name holds 255, and suffixes of ours need some
_PLAIN_NAME: Final = rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{_LONGEST_NAME - 1}}}"
_SUFFIX: Final = rf"(?i)\.(?:{'|'.join(sorted(suffix[1:] for suffix in SUFFIXES))})$"
_AUGMENTED: Final = re.compile(r"__aug\d+$")


class Layout(NamedTuple):
    """The meaning of a table's columns.

    Attributes:
        name: one of the constants above.
        image: the column of the image's name.
        diagnosis: the columns of the diagnosis; empty where there are none.
        fields: the column of each of `FIELD_COLUMNS` that the table has.
    """

    name: str
    image: str
    diagnosis: tuple[str, ...]
    fields: dict[str, str]


class LabelTable(NamedTuple):
    """A table in the project's own terms.

    Attributes:
        rows: `ROW_COLUMNS`, one row an image; text that is not known is empty, `age` is in years or NaN. `full_size` is the
            image's name without the mark of a smaller copy; `dx` is as in the catalog; `row` is the record's number in the
            file (the header is 1); `refused` is why the row cannot be used; `lesion_collection` is the source by the
            lesion's id, and `collection` the source by the image's number or the layout.
    """

    path: Path
    layout: Layout
    rows: pd.DataFrame


def recognise(header: list[str], path: Path) -> Layout:
    """Return the layout of a table with these columns, in lower case. Raises DataError when the layout is not known."""
    image = next((name for name in IMAGE_COLUMNS if name in header), None)
    fields = {field: name for field, names in FIELD_COLUMNS.items() if (name := _first_in(names, header))}
    one_hot = tuple(code for code in ONE_HOT_CODES if code in header)
    ways: dict[str, tuple[str, ...]] = {}
    if "dx" in header:
        ways[HAM10000 if image == "image_id" else OWN] = ("dx",)
    if set(one_hot) >= _ONE_HOT_ALWAYS and {"ak", "akiec"} & set(one_hot):
        ways[ISIC_2018 if "akiec" in one_hot else ISIC_2019] = one_hot
    if "diagnosis_1" in header:
        ways[ISIC_ARCHIVE] = tuple(name for name in _LEVELS if name in header)
    elif "dx" not in header and (target := tuple(name for name in _TARGET if name in header)):
        ways[{"image_name": ISIC_2020_LAYOUT, "isic_id": ISIC_ARCHIVE}.get(image or "", OWN)] = target
    if image is None or not (ways or fields):
        missing = [name for name, lacks in (("image", image is None), ("dx", not ways)) if lacks]
        raise DataError(f"{path} {lacks_columns(missing, header)}")
    if len(ways) > 1:
        columns = " and in ".join(", ".join(names) for names in ways.values())
        raise DataError(f"{path} gives diagnoses in the columns {columns}; expected one way. Remove the others.")
    if ways:
        [(name, diagnosis)] = ways.items()
        return Layout(name, image, diagnosis, fields)
    is_of_2019 = image == "image" and {"age_approx", "anatom_site_general"} <= set(fields.values())
    return Layout(ISIC_2019_METADATA if is_of_2019 else METADATA, image, (), fields)


def lacks_columns(missing: list[str], header: list[str]) -> str:
    """Return the sentences on what a table lacks, what was expected and what was found."""
    return (
        f"lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
        f"expected image and dx, found: {', '.join(header)[:300]}. Or the columns of a table of ISIC 2018 to 2020, of "
        "HAM10000 or of the ISIC Archive: docs/reference/labels.md lists them."
    )


def read_table(path: Path) -> LabelTable:
    """Return a table of any known layout.

    A row that repeats another is dropped. An image without a name gets the name `(row 7)`.

    Raises DataError as `read_csv` does, when the layout is not known, or when the table gives an image two diagnoses,
    lesions or patients; every such row is named.
    """
    layouts: list[Layout] = []

    def choose(header: list[str]) -> list[str]:
        layout = recognise(header, path)
        layouts.append(layout)
        return [layout.image, *layout.diagnosis, *layout.fields.values()]

    cells = read_csv(path, choose)
    [layout] = layouts
    rows = _in_own_terms(cells, layout)
    _refuse_two_meanings(rows, path)
    return LabelTable(path, layout, rows.drop_duplicates("full_size", ignore_index=True))


def _in_own_terms(cells: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    dx, problem = _diagnoses(cells, layout)
    rows = pd.DataFrame({"image": _without_suffix(cells[layout.image].str.strip()), "dx": dx})
    for field in FIELD_COLUMNS:
        column = layout.fields.get(field)
        if field == "age":
            rows[field] = float("nan") if column is None else _numbers(cells[column], _years)
        else:
            rows[field] = "" if column is None else _given(cells[column])
    rows["sex"] = rows["sex"].str.lower()
    rows["row"] = cells["row"]
    named = _name_problems(rows["image"])
    rows["refused"] = named.where(named != "", problem)
    # The catalog has one row an image; with this name each such row stays in it, and no file can have the name.
    rows["image"] = rows["image"].where(rows["image"] != "", "(row " + rows["row"].astype("str") + ")")
    rows["full_size"] = full_size_name(rows["image"])
    rows["lesion_collection"] = collection_of_lesion(rows["lesion_id"])
    numbered = ISIC_2020 if layout.name == ISIC_2020_LAYOUT else ""
    rows["collection"] = numbered or collection_of_number(rows["full_size"])
    texts = [name for name in ROW_COLUMNS if name not in ("age", "row")]
    return rows[list(ROW_COLUMNS)].astype(dict.fromkeys(texts, "str"))


def _first_in(names: tuple[str, ...], header: list[str]) -> str | None:
    return next((name for name in names if name in header), None)


# --- Diagnoses ----------------------------------------------------------------------------------------------------


def _diagnoses(cells: pd.DataFrame, layout: Layout) -> tuple[pd.Series, pd.Series]:
    """Return the diagnosis of each row as the catalog stores it, and the problem of each row whose diagnosis is unclear."""
    columns = layout.diagnosis
    nothing = pd.Series("", index=cells.index, dtype="str")
    if not columns:
        return nothing, nothing
    if columns == ("dx",):
        return _texts(cells["dx"], canonical_dx), nothing
    if layout.name in (ISIC_2018, ISIC_2019):
        return _from_one_hot(cells, columns)
    if columns[0] == "diagnosis_1":
        return _from_rows(cells, columns, _from_levels)
    return _from_rows(cells, columns, lambda *row: _from_target(**dict(zip(columns, row, strict=True))))


def _from_one_hot(cells: pd.DataFrame, codes: tuple[str, ...]) -> tuple[pd.Series, pd.Series]:
    numbers = np.column_stack([_numbers(cells[code], _number) for code in codes])
    is_one = numbers == 1
    is_clear = (is_one.sum(axis=1) == 1) & (is_one | (numbers == 0)).all(axis=1)
    dx = np.where(is_clear, np.array(codes, dtype=object)[is_one.argmax(axis=1)], "")
    problem = np.full(len(cells), "", dtype=object)
    problem[~is_clear] = [
        "expected one 1 and else 0 in the columns of diagnoses; found "
        + ", ".join(f"{code.upper()}={text[:20]}" for code, text in zip(codes, row, strict=True))
        for row in cells.loc[~is_clear, list(codes)].itertuples(index=False)
    ]
    return pd.Series(dx, index=cells.index, dtype="str"), pd.Series(problem, index=cells.index, dtype="str")


def _from_rows(
    cells: pd.DataFrame, columns: tuple[str, ...], read: Callable[..., tuple[str, str]]
) -> tuple[pd.Series, pd.Series]:
    """Return diagnosis and problem of each row: `read` is called once for each different combination of the values."""
    numbers = np.zeros(len(cells), dtype=np.int64)
    for name in columns:
        codes, values = pd.factorize(cells[name])
        numbers, _ = pd.factorize(numbers * len(values) + codes)
    _, examples = np.unique(numbers, return_index=True)
    pairs = [
        read(*(text.strip() for text in row)) for row in cells[list(columns)].iloc[examples].itertuples(index=False)
    ]
    dx, problem = (pd.Series([pair[part] for pair in pairs], dtype="str").take(numbers) for part in (0, 1))
    return dx.set_axis(cells.index), problem.set_axis(cells.index)


def _from_levels(*names: str) -> tuple[str, str]:
    """Return the deepest name that the taxonomy has, and the problem; a newer release of the archive may have finer names."""
    given = [name for name in names if name]
    if not given:
        return "", ""
    dx = next((canonical_dx(name) for name in reversed(given) if is_recognised(name)), canonical_dx(given[-1]))
    if label_of(given[0]) != label_of(dx) and is_recognised(given[0]):
        return "", f"diagnosis_1 is {given[0][:SHOWN]!r} but {given[-1][:SHOWN]!r} is {label_of(dx)}"
    return dx, ""


def _from_target(diagnosis: str = "", benign_malignant: str = "", target: str = "") -> tuple[str, str]:
    """Return the diagnosis if it has the class of `benign_malignant` or `target`, else that class; and the problem.

    ISIC 2020 has the diagnosis `unknown` for 27,124 benign images. Actinic keratosis stays, because its class is a setting.
    """
    dx = canonical_dx(diagnosis)
    named_class = "indeterminate" if benign_malignant.lower().startswith("indeterminate") else benign_malignant.lower()
    if named_class not in ("", BENIGN, MALIGNANT, "indeterminate"):
        return "", f"benign_malignant is {benign_malignant[:SHOWN]!r}; expected benign or malignant"
    if target:
        number = _number(target)
        if number not in (0, 1):
            return "", f"target is {target[:SHOWN]!r}; expected 0 or 1"
        by_number = MALIGNANT if number == 1 else BENIGN
        if named_class in (BENIGN, MALIGNANT) and named_class != by_number:
            return "", f"benign_malignant is {benign_malignant!r} but target is {target[:SHOWN]!r}"
        named_class = named_class or by_number
    if not named_class or dx in ("ak", "akiec"):
        return dx, ""
    if label_of(dx) == UNKNOWN:
        return (dx if named_class == "indeterminate" and dx and is_recognised(dx) else named_class), ""
    if label_of(dx) != label_of(named_class):
        return "", f"diagnosis {diagnosis[:SHOWN]!r} is {label_of(dx)} but the table calls the image {named_class}"
    return dx, ""


# --- Values -------------------------------------------------------------------------------------------------------


def _texts(texts: pd.Series, convert: Callable[[str], str]) -> pd.Series:
    """Return the results of a function that is called once for each different text."""
    numbers, values = pd.factorize(texts)
    return pd.Series([convert(str(value)) for value in values], dtype="str").take(numbers).set_axis(texts.index)


def _numbers(texts: pd.Series, convert: Callable[[str], float]) -> npt.NDArray[np.float64]:
    """Return the results of a function that is called once for each different text."""
    numbers, values = pd.factorize(texts)
    return np.array([convert(str(value)) for value in values], dtype=np.float64)[numbers]


def _given(texts: pd.Series) -> pd.Series:
    texts = texts.str.strip()
    return texts.where(~texts.str.lower().isin(NOT_GIVEN), "")


def _number(text: str) -> float:
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return float("nan")


def _years(text: str) -> float:
    years = _number(text)
    return years if 0 <= years <= 130 else float("nan")


def _without_suffix(images: pd.Series) -> pd.Series:
    has_suffix = images.str.contains(_SUFFIX, regex=True)
    return (
        images.where(~has_suffix, images[has_suffix].str.rpartition(".")[0].astype("str"))
        if has_suffix.any()
        else images
    )


def _name_problems(images: pd.Series) -> pd.Series:
    is_plain = (images.str.fullmatch(_PLAIN_NAME) & ~images.str.contains("__aug", regex=False)).to_numpy(dtype=bool)
    problems = np.full(len(images), "", dtype=object)
    problems[~is_plain] = [_name_problem(image) for image in images[~is_plain]]
    return pd.Series(problems, index=images.index, dtype="str")


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


def _refuse_two_meanings(rows: pd.DataFrame, path: Path) -> None:
    repeated = rows[rows["full_size"].duplicated(keep=False)]
    for column, what in (("dx", "diagnoses"), ("lesion_id", "lesions"), ("patient_id", "patients")):
        meanings = repeated.groupby("full_size")[column].nunique()
        torn = repeated[repeated["full_size"].isin(meanings[meanings > 1].index)].sort_values(["full_size", "row"])
        if torn.empty:
            continue
        listed = [
            f"row {row.row}: {str(row.image)[:SHOWN]!r} {getattr(row, column)[:SHOWN]!r}"
            for row in torn.head(ROWS_LISTED).itertuples()
        ]
        more = f" and {len(torn) - ROWS_LISTED} more rows" if len(torn) > ROWS_LISTED else ""
        raise DataError(
            f"{path} gives {torn['full_size'].nunique()} images two {what}; expected one each. "
            f"{'; '.join(listed)}{more}. Remove the wrong rows."
        )
