"""Alterations do what they say, the sample is even and stable, and the curves hold what was answered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.measured import known

from skinlesion.evaluation.robustness import (
    CURVES,
    altered,
    blurred,
    brightened,
    choose_sample,
    compressed,
    robustness,
    rotated,
    scaled,
)
from skinlesion.registry.metrics_record import Robustness

PICTURE = np.zeros((224, 224, 3), np.uint8)
PICTURE[60:100, 100:180] = (200, 90, 40)


def rows_of(**lesions: int) -> pd.DataFrame:
    """Return two images of each lesion."""
    rows = [
        {"image": f"{label}{lesion}{copy}", "group": f"{label}{lesion}", "label": label}
        for label, count in lesions.items()
        for lesion in range(count)
        for copy in "ab"
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("name", list(CURVES))
def test_an_alteration_gives_another_picture_of_the_same_kind_and_leaves_the_original(name: str) -> None:
    before = PICTURE.copy()
    for strength in CURVES[name].strengths:
        found = CURVES[name].alter(PICTURE, strength)
        assert found.shape == PICTURE.shape
        assert found.dtype == np.uint8
        assert not np.array_equal(found, PICTURE)
    assert np.array_equal(PICTURE, before)


def test_a_quarter_turn_and_no_change_are_exact() -> None:
    assert np.array_equal(rotated(PICTURE, 90), np.rot90(PICTURE))
    assert np.array_equal(rotated(PICTURE, 0), PICTURE)
    assert np.array_equal(scaled(PICTURE, 1), PICTURE)


def test_light_is_multiplied_and_does_not_wrap_round() -> None:
    assert brightened(PICTURE, 1.4)[70, 120].tolist() == [255, 126, 56]
    assert brightened(PICTURE, 0.5)[70, 120].tolist() == [100, 45, 20]


def test_a_larger_scale_shows_the_lesion_larger() -> None:
    def area(picture: np.ndarray) -> int:
        return int((picture[..., 0] > 100).sum())

    assert area(scaled(PICTURE, 1.5)) == pytest.approx(2.25 * area(PICTURE), rel=0.1)
    assert area(scaled(PICTURE, 0.7)) == pytest.approx(0.49 * area(PICTURE), rel=0.1)


def test_blur_and_compression_keep_the_colours_in_their_channels() -> None:
    for picture in (blurred(PICTURE, 2), compressed(PICTURE, 90)):
        assert picture[80, 140].astype(int) == pytest.approx([200, 90, 40], abs=12)


def test_the_sample_takes_one_image_a_lesion_and_the_classes_evenly() -> None:
    rows = rows_of(benign=40, malignant=30, unknown=5)
    chosen = rows.iloc[choose_sample(rows, 45)]
    assert chosen["group"].is_unique
    assert chosen["label"].value_counts().to_dict() == {"benign": 20, "malignant": 20, "unknown": 5}


def test_the_sample_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = rows_of(benign=40, malignant=30, unknown=5)
    turned = rows.iloc[::-1].reset_index(drop=True)
    assert set(rows.iloc[choose_sample(rows, 30)]["image"]) == set(turned.iloc[choose_sample(turned, 30)]["image"])


@pytest.mark.parametrize(("lesions", "expected"), [({"benign": 1}, 1), ({"benign": 3, "malignant": 1}, 4)])
def test_fewer_lesions_than_wanted_are_all_taken(lesions: dict[str, int], expected: int) -> None:
    assert len(choose_sample(rows_of(**lesions), 300)) == expected


def test_the_pictures_come_unaltered_first_then_kind_by_kind() -> None:
    pictures = [make() for make in altered([PICTURE, PICTURE[::-1]])]
    assert len(pictures) == 2 * 18
    assert np.array_equal(pictures[0], PICTURE) and np.array_equal(pictures[1], PICTURE[::-1])
    assert np.array_equal(pictures[2], rotated(PICTURE, CURVES["rotation"].strengths[0]))
    assert np.array_equal(pictures[-1], scaled(PICTURE[::-1], CURVES["scale"].strengths[-1]))


def measured(labels: np.ndarray, harmed: bool = True) -> Robustness:
    """Return the robustness of a model that is right until the last scale, at which it calls everything benign."""
    random = np.random.default_rng(0)
    right = np.eye(3)[labels] * 0.7 + random.dirichlet([1, 1, 1], size=len(labels)) * 0.3
    wrong = np.tile([0.8, 0.1, 0.1], (len(labels), 1))
    parts = [right] * 17 + [wrong if harmed else right]
    return robustness(labels, [str(at) for at in range(len(labels))], np.concatenate(parts), labels)


def test_a_harmful_strength_shows_as_a_fall_with_an_interval_and_a_harmless_one_as_none() -> None:
    found = measured(np.arange(60) % 3)
    harmless, *_, harmful = found.curves["scale"].points
    assert (harmless.balanced_accuracy_change.value, harmless.malignant_auroc_change.value) == (0, 0)
    assert harmful.balanced_accuracy.value == pytest.approx(1 / 3)
    assert harmful.malignant_auroc.value == 0.5
    assert known(harmful.malignant_auroc_change.high) < 0
    assert type(found).model_validate_json(found.model_dump_json()) == found


def test_the_auroc_weighs_the_other_classes_as_the_held_out_images_do() -> None:
    labels = np.array([1, 0, 2])
    probabilities = np.array([[0.3, 0.5, 0.2], [0.6, 0.4, 0.0], [0.1, 0.6, 0.3]])
    held_out = np.array([1] + [0] * 9 + [2])
    found = robustness(labels, list("abc"), np.tile(probabilities, (18, 1)), held_out)
    assert found.unaltered.malignant_auroc.value == pytest.approx(0.9), "above nine of ten"
    assert found.unaltered.malignant_auroc.interval == ""


@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1], [2]])
def test_tiny_and_one_sided_samples_stay_plain_json(labels: list[int]) -> None:
    found = measured(np.array(labels), harmed=False)
    assert type(found).model_validate_json(found.model_dump_json()) == found
    assert (found.unaltered.malignant_auroc.value is None) == (1 not in labels)
