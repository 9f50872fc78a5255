"""The tables of labels of a data set, and their rows under the names of its files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.labels.diagnosis_columns import SHOWN
from skinlesion.data.labels.image_name import alike, full_size_name, matched_alike
from skinlesion.data.labels.join import join_tables
from skinlesion.data.labels.joined import Labels
from skinlesion.data.labels.readings import Reading, diagnosed, sentence_of_waiting
from skinlesion.data.labels.table_file import SUFFIXES
from skinlesion.data.labels.vocabulary import Vocabulary, read_vocabulary
from skinlesion.data.settings import DataSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.wording import counted

VOCABULARY: Final = "vocabulary.csv"
"""The table in labels/ of the user's own words."""

_NAMES_LISTED: Final = 5
_CHANGES_NAMED: Final = 12
_NO_TABLES: Final = ("license", "licence", "readme", "attribution", "notice")
"""How the names of files begin that nobody takes for tables."""


def label_tables(dataset: Path) -> list[Path]:
    """Return the paths of diagnoses.csv (or .tsv, .xlsx) and of the tables in labels/, by name. Raises DataError without any.

    A path that cannot be read as a table is among them, for whoever reads it to say so: labels without it would be others.
    """
    first = layout.diagnoses(dataset)
    mains = [path for suffix in SUFFIXES if os.path.lexists(path := first.with_suffix(suffix))]
    if len(mains) > 1:
        raise DataError(
            f"{dataset} has {' and '.join(path.name for path in mains)}; expected one of them. Move the others into "
            f"{layout.labels(dataset)}."
        )
    tables = mains + [path for path in _in_labels(dataset) if _is_table(path)]
    if not tables:
        raise DataError(
            f"{first} is missing: expected a table with the columns image and dx, one row an image (`image` is the file's "
            f"name without its suffix), or tables of ISIC or HAM10000 as *.csv in {layout.labels(dataset)}."
        )
    return tables


def _in_labels(dataset: Path) -> list[Path]:
    folder = layout.labels(dataset)
    if not os.path.lexists(folder):
        return []
    try:
        return sorted(folder / name for name in os.listdir(folder) if not name.startswith((".", "~$")))
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}): expected a folder with tables of labels."
        ) from None


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name.lower() != VOCABULARY


def labels_of_dataset(config: DataSettings, reviews: Mapping[str, Reading]) -> Labels:
    """Return the joined tables of the data set. Where there is a diagnoses.csv, those in labels/ only add to it.

    reviews: what people say of each image (`readings`). Raises DataError as `label_tables`, `read_vocabulary` and `join_tables` do.
    """
    review = layout.review_table(config.dataset)
    is_reviewed = layout.review_history(config.dataset).exists()
    tables = label_tables(config.dataset)
    if is_reviewed and config.review_labels == "ignore":
        tables = [path for path in tables if path != review]
    deciding = review if is_reviewed and config.review_labels == "win" else None
    has_main = tables[0].parent == config.dataset
    others = [path for path in _in_labels(config.dataset) if not _is_table(path)]
    own = _vocabulary_in(others)
    vocabulary = None if own is None else read_vocabulary(own)
    supplements = [*(tables[1:] if has_main else ()), *((review,) if is_reviewed else ())]
    labels = join_tables(tables, supplements, config.actinic_keratosis, vocabulary, deciding)
    labels.notes.extend(_notes_of_review(config.dataset, labels, reviews))
    unread = [path.name for path in others if path != own and not path.name.lower().startswith(_NO_TABLES)]
    if unread:
        more = f" and {len(unread) - _NAMES_LISTED} more" if len(unread) > _NAMES_LISTED else ""
        labels.notes.append(
            f"Not read in labels/: {', '.join(unread[:_NAMES_LISTED])}{more}. Tables are {', '.join(SUFFIXES)}."
        )
    return labels


def vocabulary_of(dataset: Path) -> Vocabulary:
    """Return the user's own words; none without a table of them. Raises DataError as `read_vocabulary` does."""
    own = _vocabulary_in(_in_labels(dataset))
    return Vocabulary() if own is None else read_vocabulary(own)


def _vocabulary_in(paths: list[Path]) -> Path | None:
    return next((path for path in paths if path.name.lower() == VOCABULARY), None)


def _notes_of_review(dataset: Path, labels: Labels, reviews: Mapping[str, Reading]) -> list[str]:
    """Return sentences on the images of which people who looked say otherwise than the tables, and on those that wait for readers."""
    waits = list(filter(None, [sentence_of_waiting(reviews)]))
    if not labels.decided:
        return waits
    said = diagnosed(reviews)
    becomes = Counter(labels.decided.values())
    people = Counter(said[image].by for image in labels.decided if image in said)
    changes = ", ".join(
        f"{before or 'none'} became {dx} {count:,}" for (before, dx), count in becomes.most_common(_CHANGES_NAMED)
    )
    more = f" and {len(becomes) - _CHANGES_NAMED} more kinds" if len(becomes) > _CHANGES_NAMED else ""
    by = ", ".join(f"{name} {count:,}" for name, count in people.most_common(_NAMES_LISTED))
    changed = counted(
        len(labels.decided),
        "image has another diagnosis than in the tables, because people looked at it",
        "images have another diagnosis than in the tables, because people looked at them",
    )
    return [
        f"{changed} ({layout.review_table(dataset).name}): {changes}{more}. Said by {by}.",
        *waits,
    ]


def rows_of_files(rows: pd.DataFrame, names: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the joined rows under the names of the files, without those that have no file and need none; and sentences.

    A file that is the smaller copy (`_downsampled`) or the original of an image in the tables gets the row of that image;
    where both files are there, each gets it. So does a file whose name differs from that of one image alone in case, leading
    zeros or a final `.0`. names: the names of the files, without suffix, in Unicode's composed form.
    """
    names = names.astype("str")
    has_file = is_in(rows["image"], names)
    unnamed = names[~is_in(names, rows["image"])].drop_duplicates()
    other = pd.DataFrame({"full_size": full_size_name(unnamed), "other_name": unnamed})
    twins = rows.assign(full_size=full_size_name(rows["image"])).merge(other, on="full_size")
    named_anew = is_in(rows["image"], twins["image"])
    rest = unnamed[~is_in(unnamed, twins["other_name"])]
    open_rows = ~has_file & ~named_anew
    rows, notes = _named_alike(rows, open_rows, rest)
    kept = rows[~named_anew & (~open_rows | rows["expected"] | is_in(rows["image"], rest)) | has_file]
    return pd.concat([kept, twins.assign(image=twins["other_name"])[list(rows)]], ignore_index=True), notes


def _named_alike(rows: pd.DataFrame, is_open: pd.Series, files: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows with the names of the files that differ little, and sentences with an example of each side.

    is_open: which rows have no file. files: the names of the files that no row names.
    """
    without = rows.loc[is_open, "image"]
    if without.empty or files.empty:
        return rows, []
    notes = []
    found = matched_alike(pd.Index(without), pd.Index(files))
    if found:
        row, file = next(iter(found.items()))
        notes.append(
            f"{counted(len(found), 'image has', 'images have')} another name in the tables than in images/, by case, leading zeros or "
            f"a final .0 alone; the two names are one image: {row[:SHOWN]!r} is the file {file[:SHOWN]!r}."
        )
        rows = rows.assign(image=rows["image"].where(~is_open, rows["image"].replace(found)))
    missed = without[~without.isin(list(found)) & rows["expected"]]
    left = files[~files.isin(list(found.values()))]
    if len(missed) and len(left):
        keys = {alike(name): name for name in left}
        row = next((name for name in missed if alike(name) in keys), missed.iloc[0])
        file = keys.get(alike(row), left.iloc[0])
        notes.append(
            f"{counted(len(missed), 'row has', 'rows have')} no file, such as {row[:SHOWN]!r}; "
            f"{counted(len(left), 'file has', 'files have')} no row, such as "
            f"{file[:SHOWN]!r}."
        )
    return rows, notes
