from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from skinlesion.data.labels.conflicts import conflicting_diagnoses
from skinlesion.data.labels.diagnosis import label_of


def reasons(rows: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """Return the reason of each image that is set aside, of rows (image, dx, duplicates[, label])."""
    images = pd.DataFrame([row[:2] for row in rows], columns=["image", "dx"], index=range(10, 10 + len(rows)))
    images["label"] = [row[3] if len(row) > 3 else label_of(row[1]) for row in rows]
    pictures = pd.Series([row[2] for row in rows], index=images.index)
    found = conflicting_diagnoses(images, pictures)
    return dict(zip(images.loc[found.index, "image"], found, strict=True))


def test_pictures_that_agree_pictures_of_their_own_and_files_without_a_picture_are_left_alone() -> None:
    assert reasons([("a", "nv", "P"), ("b", "nv", "P"), ("c", "mel", "Q"), ("d", "", "R"), ("e", "", "R")]) == {}
    assert reasons([("a", "nv", ""), ("b", "mel", "")]) == {}


def test_both_images_of_a_conflict_are_set_aside_and_name_each_other_and_both_diagnoses() -> None:
    found = reasons([("b", "mel", "P"), ("a", "nv", "P"), ("c", "nv", "Q")])
    assert found == {
        "a": "the same picture as b with another diagnosis: nv here, mel there; set aside until they agree",
        "b": "the same picture as a with another diagnosis: mel here, nv there; set aside until they agree",
    }


@pytest.mark.parametrize("dx", [("nv", "bkl"), ("nv", "mel"), ("zebra", "nv"), ("unk", "nv")])
def test_two_diagnoses_are_a_conflict_also_within_a_class(dx: tuple[str, str]) -> None:
    assert reasons([("a", dx[0], "P"), ("b", dx[1], "P")]).keys() == {"a", "b"}


def test_all_images_of_the_picture_are_set_aside() -> None:
    found = reasons([("a", "nv", "P"), ("b", "nv", "P"), ("c", "mel", "P"), ("d", "bcc", "P")])
    assert found.keys() == {"a", "b", "c", "d"}
    assert "same picture as c with another diagnosis: nv here, mel there" in found["b"]


def test_only_the_image_that_is_stated_to_have_no_diagnosis_is_set_aside() -> None:
    found = reasons([("a", "unknown", "P"), ("b", "mel", "P"), ("c", "mel", "P")])
    assert found == {"a": "the same picture as b, which has the diagnosis mel; this one has none"}


def test_a_known_class_without_a_diagnosis_agrees_with_a_diagnosis_of_that_class() -> None:
    assert reasons([("a", "unknown", "P", "benign"), ("b", "nv", "P")]) == {}
    assert "benign here, mel there" in reasons([("a", "unknown", "P", "benign"), ("b", "mel", "P")])["a"]
