"""Images and lesions of each class on each side of the split."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from skinlesion.data.catalog import SPLITS
from skinlesion.data.labels.classes import LABELS


class ClassCount(NamedTuple):
    """The images of a class on one side of the split, and the lesions that they show."""

    label: str
    split: str
    images: int
    lesions: int


def class_counts(images: pd.DataFrame) -> list[ClassCount]:
    """Return the counts of every class on every side, zeros included, the classes in the order of `LABELS`.

    images: rows of the catalog that can be used, with the columns label, split and group.
    """
    counts = images.groupby(["label", "split"])["group"].agg(images="size", lesions="nunique")
    counts = counts.reindex(pd.MultiIndex.from_product([LABELS, SPLITS]), fill_value=0)
    return [
        ClassCount(label, split, int(number), int(lesions))
        for (label, split), number, lesions in zip(counts.index, counts["images"], counts["lesions"], strict=True)
    ]
