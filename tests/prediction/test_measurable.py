"""Which held-out images a model may be measured on."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from skinlesion.prediction.measurable import LEARNT_COLUMNS, Measurable, TooFewToJudge, without_learnt


def images(names: str, **changed: Any) -> pd.DataFrame:
    """Return rows of a manifest, an image of a lesion of its own for each name."""
    each = names.split()
    rows = pd.DataFrame({"image": each, "lesion": [f"lesion:{name}" for name in each]})
    rows = rows.assign(
        sha256="processed " + rows["image"],
        original="file " + rows["image"],
        group=rows["lesion"],
        label="benign",
        dx="nv",
    )
    return rows.assign(**changed).astype("str")


def learnt(names: str, **changed: Any) -> pd.DataFrame:
    return images(names, **changed).assign(inner=False)[[*LEARNT_COLUMNS]].astype(LEARNT_COLUMNS)


def others(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["image", "original", "lesion", "group"]]


def left(found: Measurable) -> str:
    return " ".join(found.rows["image"])


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (images("a b c d"), "known by its name"),
        (images("a_downsampled b c d"), "known by the name of its smaller copy"),
        (images("z b c d", original=["file a", "2", "3", "4"]), "renamed, and resized anew"),
        (images("z b c d", sha256=["processed a", "2", "3", "4"]), "renamed, and equal after resizing alone"),
        (images("z b c d", lesion=["lesion:a", "2", "3", "4"], group=["g", "2", "3", "4"]), "another picture of it"),
        (images("z b c d", group=["lesion:a", "2", "3", "4"]), "of the group that was learnt"),
    ],
)
def test_what_was_learnt_is_known_again(today: pd.DataFrame, said: str) -> None:
    renamed = today.assign(lesion=[f"L{n}" for n in range(4)]) if said.startswith("renamed") else today
    renamed = renamed.assign(group=renamed["lesion"]) if said.startswith("renamed") else renamed
    found = without_learnt(renamed, [learnt("a")], others(renamed))
    assert left(found) == "b c d", said
    assert (found.left_out.images, found.left_out.lesions, found.left_out.of_images) == (1, 1, 4)


def test_of_a_lesion_that_was_learnt_no_image_is_measured() -> None:
    rows = images("a b c d e", group=["merged", "merged", "c", "d", "e"])
    found = without_learnt(rows, [learnt("a")], others(rows))
    assert left(found) == "c d e"
    assert (found.left_out.images, found.left_out.lesions) == (2, 1)


def test_an_image_that_is_used_no_more_still_says_which_lesion_was_learnt() -> None:
    """A learnt image was set aside, or its file deleted, but the table says that it shows the held-out lesion h."""
    rows = images("h b c d")
    gone = images("a", lesion="lesion:h", group="")
    assert left(without_learnt(rows, [learnt("a")], others(pd.concat([rows, gone])))) == "b c d"
    aside = images("a", lesion="lesion:a", group="lesion:h")
    assert left(without_learnt(rows, [learnt("a")], others(pd.concat([rows, aside])))) == "b c d"


def test_refused_images_without_a_group_join_nothing() -> None:
    rows = images("h b c d")
    refused = images("a r", group="")
    assert left(without_learnt(rows, [learnt("a")], others(pd.concat([rows, refused])))) == "h b c d"


@pytest.mark.parametrize(("names", "enough"), [("a", True), ("a b", True), ("a b c", False), ("a b c d", False)])
def test_half_of_a_class_must_be_left(names: str, enough: bool) -> None:
    rows = images("a b c d")
    if enough:
        assert len(without_learnt(rows, [learnt(names)]).rows) == 4 - len(names.split())
    else:
        with pytest.raises(TooFewToJudge, match=r"too few to judge: .* held-out images") as refused:
            without_learnt(rows, [learnt(names)])
        assert refused.value.left_out.images == len(names.split())


def test_two_lesions_of_a_class_must_be_left_and_a_class_that_had_one_keeps_it() -> None:
    rows = images("a b c d e f", label=["malignant", "malignant", "unknown", "benign", "benign", "benign"])
    assert left(without_learnt(rows, [learnt("d")])) == "a b c e f"
    for name in ("a", "c"):
        with pytest.raises(TooFewToJudge):
            without_learnt(rows, [learnt(name)])
