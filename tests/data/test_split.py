from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skinlesion.data.labels.diagnosis import label_of
from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, TRAIN, assign_groups, assign_sides, require_no_leak
from skinlesion.foundation.errors import LeakError
from skinlesion.foundation.tables import empty

Row = dict[str, str]
NOTHING_DECIDED = empty(DECISION_COLUMNS)


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return a table of images, of which `rows` says what differs from a naevus without a lesion and a patient."""
    defaults = {"lesion_id": "", "patient_id": "", "dx": "nv", "source": "", "sha256": ""}
    images = pd.DataFrame([defaults | {"image": f"I{number}"} | row for number, row in enumerate(rows)]).astype("str")
    images["sha256"] = images["sha256"].where(images["sha256"] != "", "content of " + images["image"])
    images["label"] = images["dx"].map(label_of)
    images["group"] = assign_groups(images)
    return images


def many_rows(count: int, seed: int = 0, longest: int = 8) -> list[Row]:
    draws = np.random.default_rng(seed)
    rows: list[Row] = []
    for lesion in range(count):
        dx = str(draws.choice(["nv", "mel", "bkl", "bcc", "ak", "df"], p=[0.5, 0.15, 0.15, 0.1, 0.07, 0.03]))
        source = str(draws.choice(["one", "two"], p=[0.7, 0.3]))
        rows += [{"lesion_id": f"L{seed}-{lesion}", "dx": dx, "source": source}] * int(
            draws.choice([1, 2, 3, longest], p=[0.5, 0.3, 0.15, 0.05])
        )
        if len(rows) >= count:
            return rows[:count]
    return rows


def held(split: pd.Series) -> float:
    return (split == HELD_OUT).mean()


def test_a_group_is_the_lesion_else_the_patient_else_the_image() -> None:
    images = table([{"lesion_id": "L", "patient_id": "P"}, {"patient_id": "P"}, {}, {"lesion_id": "L"}])
    assert images["group"].tolist() == ["lesion:L", "patient:P", "image:I2", "lesion:L"]


def test_equal_files_join_groups_also_along_a_chain() -> None:
    images = table(
        [
            {"lesion_id": "B", "sha256": "x"},
            {"lesion_id": "A", "sha256": "x"},
            {"lesion_id": "B", "sha256": "y"},
            {"patient_id": "P", "sha256": "y"},
            {"lesion_id": "Z"},
        ]
    )
    assert images["group"].tolist() == ["lesion:A"] * 4 + ["lesion:Z"]


@pytest.fixture(scope="module")
def three_thousand() -> pd.DataFrame:
    return table(many_rows(3000))


def test_shares_are_near_the_wanted_one_in_every_diagnosis_and_source_and_of_lesions_of_many_views(
    three_thousand: pd.DataFrame,
) -> None:
    split, _ = assign_sides(three_thousand, NOTHING_DECIDED, 0.2)
    assert held(split) == pytest.approx(0.2, abs=0.01)
    for keys in (["label"], ["dx"], ["dx", "source"]):
        for _, part in three_thousand.assign(split=split).groupby(keys):
            assert held(part["split"]) == pytest.approx(0.2, abs=max(0.02, 8 / len(part)))
    views = three_thousand.groupby("group")["image"].transform("size")
    assert held(split[views >= 3]) == pytest.approx(0.2, abs=0.05)
    assert held(split[views == 1]) == pytest.approx(0.2, abs=0.05)


@pytest.mark.parametrize("fraction", [0.05, 0.5])
def test_the_share_follows_the_setting(three_thousand: pd.DataFrame, fraction: float) -> None:
    split, _ = assign_sides(three_thousand, NOTHING_DECIDED, fraction)
    assert held(split) == pytest.approx(fraction, abs=0.01)


@pytest.mark.parametrize("views", [1, 3])
def test_the_second_lesion_of_a_class_is_held_out_and_the_first_is_not(views: int) -> None:
    for first, dx in enumerate(["mel", "nv", "ak"] * 2):
        rows = [{"lesion_id": f"{lesion}", "dx": dx} for lesion in (first, "later") for _ in range(views)]
        split, decided = assign_sides(table(rows[:views]), NOTHING_DECIDED, 0.2)
        assert set(split) == {TRAIN}
        split, _ = assign_sides(table(rows), decided, 0.2)
        assert split.tolist() == [TRAIN] * views + [HELD_OUT] * views


rows_of_images = st.lists(
    st.fixed_dictionaries(
        {
            "lesion_id": st.sampled_from(["", "a", "b", "c", "d"]),
            "dx": st.sampled_from(["nv", "mel", "ak"]),
            "source": st.sampled_from(["", "s"]),
        }
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=25, deadline=None)
@given(rows=rows_of_images, cut=st.integers(1, 40), fraction=st.sampled_from([0.05, 0.2, 0.5]))
def test_no_image_changes_side_as_data_is_added_and_no_group_is_on_both(
    rows: Sequence[Row], cut: int, fraction: float
) -> None:
    some, all_of_them = table(rows[:cut]), table(rows)
    before, decided = assign_sides(some, NOTHING_DECIDED, fraction)
    after, decided = assign_sides(all_of_them, decided, fraction)
    assert after.iloc[: len(before)].tolist() == before.tolist()
    for images, split in ((some, before), (all_of_them, after)):
        require_no_leak(images.assign(split=split), ["group"])
        assert set(split) <= {TRAIN, HELD_OUT}
    again, decided_again = assign_sides(all_of_them, decided, 0.5)
    assert again.tolist() == after.tolist()
    assert decided_again.equals(decided)


def test_the_order_of_rows_does_not_matter() -> None:
    images = table(many_rows(300))
    split, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    shuffled, same = assign_sides(images.sample(frac=1, random_state=0), NOTHING_DECIDED, 0.2)
    assert shuffled.sort_index().tolist() == split.tolist()
    assert same.equals(decided)


def test_growth_in_steps_keeps_the_share() -> None:
    rows, decided = many_rows(3000), NOTHING_DECIDED
    for count in (100, 700, 1500):
        _, decided = assign_sides(table(rows[:count]), decided, 0.2)
    split, _ = assign_sides(table(rows), decided, 0.2)
    assert held(split) == pytest.approx(0.2, abs=0.02)


def test_when_groups_of_two_sides_turn_out_to_be_one_held_out_wins() -> None:
    images = table(many_rows(100))
    split, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    train, held_out = images["image"][split == TRAIN].iloc[0], images["image"][split == HELD_OUT].iloc[0]
    joined = images.assign(sha256=images["sha256"].where(~images["image"].isin([train, held_out]), "equal"))
    joined["group"] = assign_groups(joined)
    after, decided = assign_sides(joined, decided, 0.2)
    moved = set(joined["image"][after != split])
    assert moved == set(images["image"][images["lesion_id"] == images.set_index("image").loc[train, "lesion_id"]])
    assert set(after[after != split]) == {HELD_OUT}
    parted, _ = assign_sides(images, decided, 0.2)
    assert parted.tolist() == after.tolist()


def test_an_image_keeps_its_side_when_it_gets_a_lesion_id_later() -> None:
    images = table([{} for _ in range(60)])
    split, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    named = images.assign(lesion_id="L" + images["image"])
    named["group"] = assign_groups(named)
    after, _ = assign_sides(named, decided, 0.2)
    assert after.tolist() == split.tolist()


def test_what_went_away_keeps_its_decision() -> None:
    images = table(many_rows(100))
    _, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    _, later = assign_sides(images.head(10), decided, 0.2)
    assert later.equals(decided)


@pytest.mark.parametrize("key", ["group", "sha256"])
def test_a_leak_is_an_error_that_names_the_value(key: str) -> None:
    images = table([{"lesion_id": "A"}, {"lesion_id": "B"}, {"lesion_id": "C"}])
    rows = images.assign(split=[TRAIN, HELD_OUT, TRAIN])
    require_no_leak(rows, ["group", "sha256"])
    leaking = rows.assign(**{key: ["same", "same", "other"]})
    with pytest.raises(LeakError, match=rf"1 values of `{key}` lie on both sides of the split, the first: same\."):
        require_no_leak(leaking, ["group", "sha256"])
    require_no_leak(rows.assign(**{key: ""}), ["group", "sha256"])  # values that are not known


def test_a_renamed_file_keeps_its_side() -> None:
    images = table(many_rows(200)).assign(lesion_id="")
    images["group"] = assign_groups(images)
    split, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    renamed = images.assign(image="renamed " + images["image"])
    renamed["group"] = assign_groups(renamed)
    again, _ = assign_sides(renamed, decided, 0.5)
    assert again.tolist() == split.tolist()


def test_duplicates_are_one_group_whatever_their_files() -> None:
    images = table([{"lesion_id": "A"}, {"lesion_id": "B"}, {"lesion_id": "C"}])
    groups = assign_groups(images, pd.Series(["one", "other", "one"], index=images.index))
    assert groups.tolist() == ["lesion:A", "lesion:B", "lesion:A"]


def test_what_is_set_aside_binds_its_group_to_its_side_but_counts_for_no_share() -> None:
    images = table(many_rows(100))
    split, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    held_out = images["image"][split == HELD_OUT].iloc[0]
    is_aside = images["image"] == held_out
    newcomer = table([{"lesion_id": "N", "image": "new"}]).assign(group=images["group"][is_aside].iloc[0])
    used = pd.concat([images[~is_aside], newcomer], ignore_index=True)
    after, table_after = assign_sides(used, decided, 0.2, set_aside=images[is_aside])
    assert after.iloc[-1] == HELD_OUT
    assert after.iloc[:-1].tolist() == split[~is_aside].tolist()
    assert table_after.set_index("key")["split"][f"image:{held_out}"] == HELD_OUT


def test_a_group_that_is_set_aside_whole_is_decided_when_it_returns() -> None:
    images = table(many_rows(50))
    aside = table([{"lesion_id": "N", "image": "new"}])
    _, decided = assign_sides(images, NOTHING_DECIDED, 0.2)
    _, unchanged = assign_sides(images, decided, 0.2, set_aside=aside)
    assert unchanged.equals(decided)
    split, later = assign_sides(pd.concat([images, aside], ignore_index=True), unchanged, 0.2)
    assert split.iloc[-1] in (TRAIN, HELD_OUT)
    assert "lesion:N" in set(later["key"])
