"""Images and lesions are counted for every class on every side of the split."""

from __future__ import annotations

from dataclasses import astuple

import pandas as pd

from skinlesion.data.catalog import class_counts


def table(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["label", "split", "group"]).astype("str")


def test_a_lesion_with_several_images_counts_once_and_what_is_missing_counts_as_zero() -> None:
    images = table([("malignant", "train", "a"), ("malignant", "train", "a"), ("benign", "held_out", "b")])
    assert [astuple(count) for count in class_counts(images)] == [
        ("benign", "train", 0, 0), ("benign", "held_out", 1, 1),
        ("malignant", "train", 2, 1), ("malignant", "held_out", 0, 0),
        ("unknown", "train", 0, 0), ("unknown", "held_out", 0, 0),
    ]  # fmt: skip
    assert [(count.images, count.lesions) for count in class_counts(table([]))] == [(0, 0)] * 6
