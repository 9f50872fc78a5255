"""A slice has the figures of its own images, and a small one its size alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from tests.evaluation.simulated import scored

from skinlesion.evaluation.metrics import measure
from skinlesion.evaluation.slices import RESAMPLES_OF_A_SLICE, measure_slices, slice_columns
from skinlesion.registry.metrics_record import Slice


def test_a_slice_has_the_figures_of_its_own_images() -> None:
    images = scored(400, seed=9, lesions=400)
    sex = np.where(np.arange(400) % 2, "female", "male")
    table = pd.DataFrame({"sex": sex}, index=np.arange(400) + 1000)
    female, male = measure_slices(images, table, threshold=0.3)
    part = images.part(np.arange(1, 400, 2))
    alone = measure(part, threshold=0.3, resamples=RESAMPLES_OF_A_SLICE)
    assert (female.column, female.value, male.value) == ("sex", "female", "male")
    assert (female.n, female.n_lesions) == (200, alone.lesions)
    for name in ("balanced_accuracy", "malignant_auroc"):
        assert female.figures[name] == alone.figure(name)
    assert female.figures["sensitivity"].value == pytest.approx((part.scores[part.malignant] >= 0.3).mean())
    assert [female.figures["sensitivity"].low, female.figures["sensitivity"].high] == alone.intervals["sensitivity"]


@pytest.mark.parametrize(("images_each", "shown"), [(19, False), (25, True)])
def test_a_slice_of_few_lesions_shows_no_figures(images_each: int, shown: bool) -> None:
    images = scored(60 + images_each, seed=10, classes=1)
    alone = replace(images, groups=np.arange(len(images)))
    site = ["head/neck"] * 60 + ["palms/soles"] * images_each
    _, small = measure_slices(alone, pd.DataFrame({"site": site}), threshold=0.3)
    assert (small.value, small.n) == ("palms/soles", images_each)
    assert small.figures["balanced_accuracy"].is_shown == small.figures["specificity"].is_shown == shown
    assert shown or small.figures["specificity"].text == "too few lesions to judge (19)"


def test_a_slice_of_many_images_of_few_lesions_shows_no_figures() -> None:
    (row,) = measure_slices(scored(100, lesions=10), pd.DataFrame({"source": ["A"] * 100}), threshold=0.3)
    assert (row.n, row.n_lesions) == (100, 10)
    assert not any(figure.is_shown for figure in row.figures.values())


def test_missing_values_make_the_last_slice_and_bands_keep_their_order() -> None:
    sex = [None, "male", "female"] * 30
    band = pd.Categorical(["5-9", "10-14", "5-9"] * 30, categories=["5-9", "10-14", "15-19"], ordered=True)
    rows = measure_slices(scored(90, seed=11, lesions=90), pd.DataFrame({"sex": sex, "age_band": band}), threshold=0.2)
    assert [row.value for row in rows] == ["female", "male", "not recorded", "5-9", "10-14"]
    assert [Slice.model_validate_json(row.model_dump_json()) for row in rows] == rows


def test_a_slice_of_benign_images_says_which_classes_it_holds() -> None:
    (row,) = measure_slices(
        scored(60, seed=12, classes=1, lesions=60), pd.DataFrame({"source": ["MSK"] * 60}), threshold=0.5
    )
    assert row.classes == ["benign"]
    assert row.figures["malignant_auroc"].text == row.figures["sensitivity"].text == "not measured"
    assert row.figures["balanced_accuracy"].is_shown and row.figures["specificity"].is_shown


def test_columns_come_from_the_catalog_in_the_order_of_the_images_and_unrecorded_ones_are_left_out() -> None:
    catalog = pd.DataFrame({
        "image": ["a", "b", "c"], "age": [19.0, 85.0, np.nan], "sex": ["male", "", "female"],
        "dx_type": ["", "", "histo"], "site": "", "source": "X",
    })  # fmt: skip
    columns = slice_columns(pd.Series(["c", "a", "b"]), catalog)
    assert list(columns) == ["dx_type", "sex", "age_band", "source"]
    assert columns["sex"].tolist()[:2] == ["female", "male"] and columns["sex"].isna().tolist() == [False, False, True]
    assert columns["age_band"].astype(object).tolist()[1:] == ["0-19", "80+"]
