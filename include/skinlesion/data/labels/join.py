"""Several tables of one set of images, joined into one row an image; what they disagree on is listed, never guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.labels.diagnosis import label_of
from skinlesion.data.labels.diagnosis_columns import SHOWN
from skinlesion.data.labels.identities import one_id_each
from skinlesion.data.labels.image_name import alike
from skinlesion.data.labels.joined import Conflict, Labels, TableValue
from skinlesion.data.labels.layouts import TEXTS, LabelTable, lacks_columns, of_images, read_table
from skinlesion.data.labels.taxonomy import refines
from skinlesion.data.labels.vocabulary import Vocabulary
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.wording import counted

LABEL_COLUMNS: Final = (
    "image", "dx", "label", "lesion_id", "patient_id", "sex", "site", "dx_type", "source", "age", "row", "refused", "expected",
)  # fmt: skip

CONFLICTS_LISTED: Final = 1000
"""Number of conflicts that are kept with their rows; the rest is counted."""

_AGES_APART: Final = 5.0  # years; `age_approx` is rounded to five
_SHARE_OF_A_SCOPE: Final = 0.1
"""Share of the rows whose lesion's id has several patients from which ids count as numbered within the patient."""


def join_tables(
    paths: Sequence[Path],
    supplements: Collection[Path] = (),
    actinic_keratosis: str = "indeterminate",
    vocabulary: Vocabulary | None = None,
    deciding: Path | None = None,
) -> Labels:
    """Return tables of any layout joined by the image's name; a smaller copy (`_downsampled`) and its original are one.

    Where values differ, that of the first table counts, with these exceptions:

    - dx: the one that refines all others (`scc` for `akiec`). Without such a one it is their class if they have one class;
      otherwise the image is refused.
    - lesion_id, patient_id: all ids of an image are one lesion, one patient: the same side of the split.
    - sex, age (when more than five years apart), source: not known.

    Each of these is listed as a conflict, except a refinement, and an id of the archive beside one of another kind. A lesion's
    id that several patients have is numbered within the patient: it becomes the pair of both.

    supplements: paths of tables that only add to the others; an image that only they name need not be there.
    actinic_keratosis: the setting of this name. vocabulary: the user's own words. deciding: path of the table whose diagnosis
    counts whatever the others say.

    Raises DataError when a table cannot be used or contradicts itself, or when none gives a diagnosis.
    """
    tables = of_images([read_table(path, vocabulary) for path in paths])
    if not any(table.layout.diagnosis.kind != "none" for table in tables):
        header = [tables[0].layout.image, *tables[0].layout.fields.values()]
        every = "" if len(tables) == 1 else f" (nor does any other of {len(tables)} tables give a diagnosis)"
        raise DataError(f"{paths[0]} {lacks_columns(['dx'], header)}{every}")
    join = _Join(tables, actinic_keratosis, deciding)
    rows = join.rows()
    named = [path not in supplements for path in paths]
    rows["expected"] = join.named_by(named)
    return Labels(
        rows=rows[list(LABEL_COLUMNS)],
        layouts={name: table.layout.name for name, table in zip(join.names, tables, strict=True)},
        refined=join.refined,
        conflicts=join.conflicts,
        conflict_counts=join.conflict_counts,
        decided=join.decided,
        notes=join.notes,
    )


class _Join:
    """The rows of all tables one below the other, and for each row the number of its image.

    Codes number the different values of a column; -1 stands for a value that is not given.
    """

    def __init__(self, tables: Sequence[LabelTable], actinic_keratosis: str, deciding: Path | None) -> None:
        self.refined: Counter[tuple[str, str]] = Counter()
        self.conflicts: list[Conflict] = []
        self.conflict_counts: Counter[str] = Counter()
        self.notes = [note for table in tables for note in table.notes]
        self._actinic_keratosis = actinic_keratosis
        paths = [table.path for table in tables]
        self._deciding = paths.index(deciding) if deciding in paths else -1
        self.decided: dict[str, tuple[str, str]] = {}
        short = [path.name for path in paths]
        self.names = [str(path) if short.count(path.name) > 1 else path.name for path in paths]
        self._all = pd.concat([table.rows for table in tables], ignore_index=True)
        self._table = np.repeat(np.arange(len(tables)), [len(table.rows) for table in tables])
        if len(tables) > 1:
            nameless = self._all["image"].str.startswith("(row ")
            where = pd.Series(np.array(self.names, dtype=object)[self._table], dtype="str")
            for column in ("image", "full_size"):
                self._all.loc[nameless, column] = "(" + where + " " + self._all[column].str.slice(1)
            self._join_names()
        numbers, images = pd.factorize(self._all["full_size"])
        self._image = numbers.astype(np.int64)
        self._count = len(images)
        # Reversed, so that the first of an image is written last.
        self._first_row = np.empty(self._count, dtype=np.int64)
        self._first_row[self._image[::-1]] = np.arange(len(self._all))[::-1]

    def rows(self) -> pd.DataFrame:
        """Return the joined rows, all columns of `LABEL_COLUMNS` except `expected`."""
        rows = self._all.iloc[self._first_row][["image", "row"]].reset_index(drop=True)
        self._join_identities("patient_id", "patients")
        self._scope_lesions()
        self._join_identities("lesion_id", "lesions")
        values = {column: self._agreed(column) for column in TEXTS}
        for column, what in (("sex", "sex"), ("source", "source")):
            values[column] = self._without_disputed(column, what, values[column])
        for column in ("lesion_id", "patient_id", "sex", "site", "dx_type", "source"):
            rows[column] = values[column]
        for column in ("lesion_collection", "attribution", "collection"):
            rows["source"] = rows["source"].where(rows["source"] != "", values[column])
        rows["age"] = self._ages()
        dx, disputed = self._diagnosis()
        rows["dx"] = pd.Series(dx, dtype="str")
        classes = {dx: label_of(dx, self._actinic_keratosis) for dx in rows["dx"].unique()}
        rows["label"] = rows["dx"].map(classes).astype("str")
        rows["refused"] = self._agreed("refused")
        rows["refused"] = rows["refused"].where(rows["refused"] != "", pd.Series(disputed, dtype="str"))
        return rows

    def named_by(self, tables: Sequence[bool]) -> npt.NDArray[np.bool_]:
        """Return, for each image, whether one of these tables names it."""
        named = np.zeros(self._count, dtype=bool)
        named[self._image[np.array(tables)[self._table]]] = True
        return named

    def _codes(self, column: str) -> tuple[npt.NDArray[np.int64], pd.Index]:
        codes, values = pd.factorize(self._all[column])
        blank = np.flatnonzero(values == "")
        return np.where(np.isin(codes, blank), -1, codes).astype(np.int64), pd.Index(values)

    def _first(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        given = np.flatnonzero(codes >= 0)[::-1]
        first = np.full(self._count, -1, dtype=np.int64)
        first[self._image[given]] = codes[given]
        return first

    def _disputed(self, codes: npt.NDArray[np.int64], first: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the numbers of the images for which two rows have different values."""
        return np.unique(self._image[(codes >= 0) & (codes != first[self._image])])

    def _agreed(self, column: str) -> pd.Series:
        if self._count == len(self._all):
            return self._all[column].copy()
        codes, values = self._codes(column)
        return _texts(values, self._first(codes))

    def _without_disputed(self, column: str, what: str, values: pd.Series) -> pd.Series:
        codes, _ = self._codes(column)
        disputed_images = self._disputed(codes, self._first(codes))
        self._list(disputed_images, column, what, ["not known"] * len(disputed_images))
        values.iloc[disputed_images] = ""
        return values

    def _join_identities(self, column: str, what: str) -> None:
        codes, values = self._codes(column)
        disputed_images = self._disputed(codes, self._first(codes))
        if not len(disputed_images):
            return
        rows = self._rows_of(disputed_images)
        rows = rows[codes[rows] >= 0]
        names, disputed = one_id_each(pd.DataFrame({"image": self._image[rows], "value": codes[rows]}), values)
        self._list(disputed, column, what, [f"these {what} count as one"] * len(disputed))
        self._all[column] = _texts(names, codes)

    def _join_names(self) -> None:
        """Give one name to an image that tables write differently in case, leading zeros or a final `.0` alone."""
        names = self._all["full_size"]
        codes, distinct = pd.factorize(names)
        tables = pd.DataFrame({"name": codes, "table": self._table}).drop_duplicates()
        alone = tables[~tables["name"].duplicated(keep=False)]
        if alone["table"].nunique() < 2:
            return
        tables["key"] = np.array([alike(name) for name in distinct], dtype=object)[tables["name"]]
        same = tables.groupby("key")["name"].transform("nunique") > 1
        once = ~tables[["key", "table"]].duplicated(keep=False).groupby(tables["key"]).transform("any")
        meant = tables[same & once]
        if meant.empty:
            return
        first = meant.groupby("key")["name"].transform("min")
        new = np.arange(len(distinct))
        new[meant["name"]] = first
        changed = pd.Series(new[codes] != codes)
        at = int(changed.to_numpy().argmax())
        self.notes.append(
            f"{counted(meant['key'].nunique(), 'image is', 'images are')} written differently in two tables, and counted as one: "
            f"{distinct[new[codes[at]]][:SHOWN]!r} is {names[at][:SHOWN]!r} in {self.names[self._table[at]]}."
        )
        self._all.loc[changed, "full_size"] = distinct[new[codes[changed]]]

    def _scope_lesions(self) -> None:
        """Make the pair of patient and lesion of a lesion's id that several patients have.

        Where only a few ids have two patients each, they are taken for mistakes: each stays one lesion, on one side of the
        split. A row without a patient does not say which of the lesions it means, and is refused.
        """
        lesions, patients = (
            self._all["lesion_id"],
            self._agreed("patient_id").take(self._image).set_axis(self._all.index),
        )
        both = (lesions != "") & (patients != "")
        pairs = pd.DataFrame({"lesion": lesions[both], "patient": patients[both]})
        of_lesion = pairs.drop_duplicates()["lesion"].value_counts()
        shared = of_lesion[of_lesion > 1]
        if shared.empty:
            return
        is_scope = pairs["lesion"].isin(shared.index).mean() >= _SHARE_OF_A_SCOPE
        scoped = shared if is_scope else shared[shared > 2]
        torn = shared.index.difference(scoped.index)
        if len(torn):
            self.notes.append(
                f"{counted(len(torn), 'lesion id has', 'lesion ids have')} two patients each, the first: {torn[0][:SHOWN]!r}. Each still "
                "counts as one lesion."
            )
        if scoped.empty:
            return
        is_pair = lesions.isin(scoped.index)
        self.notes.append(
            f"The lesion id {scoped.index[0][:SHOWN]!r} has {scoped.iloc[0]:,} patients; {len(scoped):,} ids have several. They "
            f"count as numbered within the patient: {pairs[is_pair[both]].drop_duplicates().shape[0]:,} lesions, each a pair of "
            "patient and lesion."
        )
        self._all["lesion_id"] = lesions.where(~(is_pair & both), patients + " / " + lesions)
        unclear = is_pair & ~both & (self._all["refused"] == "")
        self._all.loc[unclear, "refused"] = (
            "lesion ids are numbered within each patient here, and no table gives this image a patient: which lesion it shows is "
            "not known"
        )

    def _ages(self) -> npt.NDArray[np.float64]:
        ages = self._all["age"].to_numpy("float64")
        given = np.flatnonzero(~np.isnan(ages))[::-1]
        first = np.full(self._count, np.nan)
        first[self._image[given]] = ages[given]
        disputed_images = np.unique(self._image[np.abs(ages - first[self._image]) > _AGES_APART])
        self._list(disputed_images, "age", "age", ["not known"] * len(disputed_images))
        first[disputed_images] = np.nan
        return first

    def _diagnosis(self) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """Return the dx of each image, and the reason where the tables leave it open."""
        codes, values = self._codes("dx")
        if self._deciding >= 0:
            codes = self._overruled(codes, [*values, ""])
        dx = _texts(values, self._first(codes)).to_numpy(dtype=object)
        disputed = np.full(self._count, "", dtype=object)
        disputed_images = self._disputed(codes, self._first(codes))
        if not len(disputed_images):
            return dx, disputed
        values_of: dict[int, list[str]] = {int(image): [] for image in disputed_images}
        for position in self._rows_of(disputed_images):
            if codes[position] >= 0:
                values_of[int(self._image[position])].append(values[codes[position]])
        joined: dict[tuple[str, ...], tuple[str, bool]] = {}
        becomes: dict[int, str] = {}
        for image, given in values_of.items():
            different = tuple(dict.fromkeys(given))
            if different not in joined:
                joined[different] = self._joined_dx(different)
            chosen, is_conflict = joined[different]
            dx[image] = chosen
            if is_conflict:
                becomes[image] = f"counts as {chosen}" if chosen else "refused"
            else:
                self.refined.update((coarser, chosen) for coarser in different if coarser not in (chosen, "unknown"))
        refused = [image for image, outcome in becomes.items() if outcome == "refused"]
        for image, given_by in self._values_of(np.array(refused, dtype=np.int64), "dx").items():
            disputed[image] = f"the tables give it different diagnoses: {', '.join(map(str, given_by))}"
        self._list(np.array(list(becomes), dtype=np.int64), "dx", "diagnoses", list(becomes.values()))
        return dx, disputed

    def _overruled(self, codes: npt.NDArray[np.int64], said: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the codes of diagnoses without those that the deciding table overrules, and keep what that changes.

        said: the diagnosis of each code, empty for -1.
        """
        is_deciding = self._table == self._deciding
        before, decided = (self._first(np.where(kept, codes, -1)) for kept in (~is_deciding, is_deciding))
        names = self._all["image"].to_numpy()[self._first_row]
        self.decided = {
            str(names[image]): (said[before[image]], said[decided[image]])
            for image in np.flatnonzero((decided >= 0) & (decided != before))
        }
        return np.where((decided[self._image] >= 0) & ~is_deciding, -1, codes)

    def _joined_dx(self, given: Sequence[str]) -> tuple[str, bool]:
        """Return the diagnosis that results from these, empty when they leave it open, and whether they disagree."""
        finest = [dx for dx in given if all(refines(dx, other) for other in given)]
        if finest:
            return finest[0], False
        classes = {label_of(dx, self._actinic_keratosis) for dx in given}
        return (classes.pop() if len(classes) == 1 else ""), True

    def _values_of(self, images: npt.NDArray[np.int64], column: str) -> dict[int, list[TableValue]]:
        """Return the values that the tables give each of these images, in the order of the tables."""
        rows = self._rows_of(images)
        of_rows = (
            self._image[rows],
            self._table[rows],
            *(self._all[name].to_numpy()[rows] for name in ("row", column)),
        )
        found: dict[int, list[TableValue]] = {int(image): [] for image in images}
        for image, table, row, value in zip(*of_rows, strict=True):
            if value != "" and value == value:  # NaN: an age that is not given
                text = f"{value:g}" if column == "age" else str(value)[:SHOWN]
                found[int(image)].append(TableValue(self.names[table], int(row), text))
        return found

    def _rows_of(self, images: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions of the rows of these images, in the order of the tables."""
        is_meant = np.zeros(self._count, dtype=bool)
        is_meant[images] = True
        return np.flatnonzero(is_meant[self._image])

    def _list(self, images: npt.NDArray[np.int64], column: str, what: str, becomes: Sequence[str]) -> None:
        if not len(images):
            return
        self.conflict_counts[what] += len(images)
        listed = images[: CONFLICTS_LISTED - len(self.conflicts)]
        values_of = self._values_of(listed, column)
        names = self._all["image"].to_numpy()[self._first_row]
        for image, outcome in zip(listed, becomes, strict=False):
            self.conflicts.append(Conflict(str(names[image]), what, tuple(values_of[int(image)]), outcome))


def _texts(values: pd.Index, codes: npt.NDArray[np.int64]) -> pd.Series:
    """Return the text of each code, empty for -1."""
    return pd.Series(values.astype("str").append(pd.Index([""], dtype="str")).take(codes))
