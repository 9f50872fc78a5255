"""Which held-out images a model may be measured on: none of a lesion that it learnt.

The split keeps a lesion on one side, but what counts as one lesion may change: a table merges two lesions, a copy is found.
Then training images become held out, and a model that was trained before knows them. So everything that measures asks here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from skinlesion.data.catalog import read_catalog
from skinlesion.data.checks.accepted_data import is_among
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.image_name import full_size_name
from skinlesion.data.split import own_groups
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import read_table
from skinlesion.foundation.wording import counted
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.metrics_record import LeftOut
from skinlesion.registry.training_record import TrainingRecord

LEARNT_COLUMNS: Final = {
    "image": "str",
    "original": "str",
    "sha256": "str",
    "lesion": "str",
    "group": "str",
    "label": "str",
    "dx": "str",
    "inner": "bool",
}
"""Columns of trained_on.parquet: the originals that a candidate learnt, as the manifest had them, and which its inner fold held.

The inner fold counts as learnt, since training stopped by it and the thresholds are chosen on it. After a warm start the
table has what the model before learnt as well.
"""

LEAST_SHARE: Final = 0.5
"""Share of the lesions of each class that must be left. What is left out is no random part: beyond half of it, the rest has
not the mixture of diagnoses and sources for which the lesions were held out."""

LEAST_LESIONS: Final = 2
"""Number of lesions of a class that must be left where there were more: of one, resampling gives no interval."""


class TooFewToJudge(DataError):
    """So many held-out lesions were learnt that the others say too little. left_out: how many."""

    def __init__(self, message: str, left_out: LeftOut) -> None:
        super().__init__(message)
        self.left_out = left_out


class UnknownWhatWasLearnt(DataError):
    """The table of what a model learnt is missing, damaged, or not the one that training wrote."""


@dataclass(frozen=True)
class Measurable:
    """Held-out images that none of the models learnt.

    Attributes:
        of: the held-out images.
        rows: those without the `left_out` ones.
    """

    of: pd.DataFrame
    rows: pd.DataFrame
    left_out: LeftOut


def measurable(dataset: Path, rows: pd.DataFrame, models: Sequence[Candidate]) -> Measurable:
    """Return the rows that all these models may be measured on, with all images of a lesion or with none.

    Args:
        dataset: its catalog says which images show one lesion.
        rows: held-out rows of the manifest.
        models: one model, or those that are compared.

    Raises:
        TooFewToJudge: too few lesions of a class are left.
        UnknownWhatWasLearnt: nobody knows it of one of the models.
        DataError: the catalog is missing or cannot be read.
    """
    learnt = [read_learnt(model) for model in models]
    catalog = read_catalog(dataset)
    catalog = catalog.assign(original=catalog["sha256"], lesion=own_groups(catalog))
    return without_learnt(rows, learnt, catalog[["image", "original", "lesion", "group"]])


def without_learnt(
    rows: pd.DataFrame, learnt: Iterable[pd.DataFrame], others: pd.DataFrame | None = None
) -> Measurable:
    """Return the rows of lesions that none of the models learnt.

    rows: columns image, sha256, label, group, and original and lesion where they are known. learnt: `LEARNT_COLUMNS`, one
    table a model. others: further images by which lesions are known, columns image, original, lesion, group; the group is
    empty for those that are refused. Raises TooFewToJudge.
    """
    is_learnt = np.zeros(len(rows), dtype=np.bool_)
    for table in learnt:
        is_learnt |= learnt_among(rows, table, others).to_numpy()
    is_learnt = is_among(rows["group"], rows.loc[is_learnt, "group"]).to_numpy()
    rest = rows[~is_learnt].reset_index(drop=True)
    left_out = LeftOut(
        images=int(is_learnt.sum()), lesions=int(rows.loc[is_learnt, "group"].nunique()), of_images=len(rows)
    )
    _require_enough(rows, rest, left_out)
    return Measurable(rows, rest, left_out)


def read_learnt(model: Candidate) -> pd.DataFrame:
    """Return what a model learnt, `LEARNT_COLUMNS`. Raises UnknownWhatWasLearnt."""
    path = model.trained_on
    try:
        found, table = sha256_of(path), read_table(path, LEARNT_COLUMNS)
        expected = TrainingRecord.read(model.training).trained_on
    except (OSError, DataError) as error:
        raise _unknown(path, f"cannot be read ({error})") from None
    if found != expected:
        raise _unknown(path, f"is not the file that training wrote (SHA-256 {found[:12]}...)")
    return table


def _unknown(path: Path, problem: str) -> UnknownWhatWasLearnt:
    return UnknownWhatWasLearnt(
        f"What the model of {path.parent} learnt is not known: {path.name} {problem}. Without it nobody can say which held-out "
        "lesions it may be measured on. Restore the file, or train again."
    )


def learnt_among(rows: pd.DataFrame, learnt: pd.DataFrame, others: pd.DataFrame | None) -> pd.Series:
    """Return which rows show what a model learnt, by name, content or lesion; parameters as of `without_learnt`."""
    names = pd.concat([learnt["lesion"], learnt["group"]]).drop_duplicates()
    groups = learnt["group"]
    if others is not None:
        # An image that was learnt is known again, and with it its lesion and its group as they are today.
        known = _is_known(others, learnt, names)
        names = pd.concat([names, others.loc[known, "lesion"]]).drop_duplicates()
        today = others.loc[known | is_among(others["lesion"], names), "group"]
        groups = pd.concat([groups, today[today != ""]]).drop_duplicates()
    return _is_known(rows, learnt, names) | is_among(rows["group"], groups)


def _is_known(images: pd.DataFrame, learnt: pd.DataFrame, lesions: pd.Series) -> pd.Series:
    """Return which images are learnt ones by their name, the content of their file, or the lesion that they show."""
    known = is_among(full_size_name(images["image"]), full_size_name(learnt["image"]))
    for column, values in (("original", learnt["original"]), ("sha256", learnt["sha256"]), ("lesion", lesions)):
        if column in images:
            known |= is_among(images[column], values)
    return known


def _require_enough(rows: pd.DataFrame, rest: pd.DataFrame, left_out: LeftOut) -> None:
    if not left_out.images:
        return
    before, now = (part.groupby("label")["group"].nunique() for part in (rows, rest))
    for label in LABELS:
        had, has = int(before.get(label, 0)), int(now.get(label, 0))
        needed = max(math.ceil(LEAST_SHARE * had), min(LEAST_LESIONS, had))
        if has < needed:
            raise TooFewToJudge(
                f"What is left is too few to judge: {left_out.sentence} Of {counted(had, f'{label} lesion')} "
                f"{counted(has, 'is', 'are')} left; at least {needed} are needed, half of the class and "
                f"{LEAST_LESIONS} where there were so many. Train on today's data, or hold more lesions out: add labelled images.",
                left_out,
            )
