"""Labels that are likely wrong: what the models, the lesion's other pictures and near-duplicates say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tests.measured import known

from skinlesion.data.review.suspects import OutOfFold, label_quality, out_of_fold, suspects

NO_PAIRS = pd.DataFrame({"first": [], "second": []})


def images(dx: list[str], groups: list[str] | None = None) -> pd.DataFrame:
    names = [f"i{number}" for number in range(len(dx))]
    table = {
        "image": names,
        "file": [f"{name}.jpg" for name in names],
        "dx": dx,
        "label": "benign",
        "split": "train",
        "group": groups or names,
        "original": [f"sha-{name}" for name in names],
    }
    return pd.DataFrame(table)


def says(rows: list[dict[str, float]], dx: list[str]) -> OutOfFold:
    codes = sorted({code for row in rows for code in row})
    probabilities = np.array([[row.get(code, 0.0) for code in codes] for row in rows])
    return OutOfFold(probabilities, codes, np.array([codes.index(one) for one in dx]))


def drawn(lesions: int, seed: int = 0) -> tuple[np.ndarray, pd.Series, pd.Series]:
    """Return activations of two diagnoses that differ clearly, two pictures a lesion."""
    draws = np.random.default_rng(seed)
    dx = np.repeat(["mel", "nv"], lesions)
    groups = np.array([f"l{number // 2}" for number in range(2 * lesions)])
    activations = draws.normal(size=(2 * lesions, 8)).astype(np.float32)
    activations[dx == "mel", 0] += 6
    return activations, pd.Series(dx), pd.Series(groups)


def test_the_quality_is_the_margin_to_the_likeliest_other_diagnosis() -> None:
    quality = label_quality(np.array([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]), np.array([0, 1]))
    assert quality.tolist() == pytest.approx([0.75, 0.25])


def test_a_swapped_label_is_the_first_of_the_list() -> None:
    activations, dx, groups = drawn(40)
    groups = pd.Series([f"l{number}" for number in range(80)])
    dx[5] = "nv"
    found = suspects(images(dx.tolist()), out_of_fold(activations, dx, groups), NO_PAIRS)
    assert found["image"].tolist() == ["i5"]
    assert (found["suggested"][0], found["rank"][0]) == ("mel", 1)
    assert found["reason"][0].startswith("A model that saw no picture of this lesion gives mel ")


def test_no_model_judges_a_lesion_that_it_has_seen() -> None:
    """A lesion whose pictures are alike and labelled alike would vouch for its own wrong label."""
    activations, dx, groups = drawn(40)
    activations[0] = activations[1] = 100.0  # the first lesion is like no other
    activations[0:2, 0] = -100.0
    found = known(out_of_fold(activations, dx, groups))
    assert found.probabilities[0, found.codes.index("mel")] < 0.5
    assert np.array_equal(found.probabilities[0], found.probabilities[1])


def test_rare_diagnoses_are_one_and_too_few_lesions_are_not_judged() -> None:
    activations, dx, groups = drawn(40)
    dx[:4] = ["df", "df", "vasc", "vasc"]
    found = known(out_of_fold(activations, dx, groups))
    assert found.codes == ["(rare)", "mel", "nv"]
    assert out_of_fold(activations[:8], dx[:8], groups[:8]) is None


def test_of_pictures_that_contradict_each_other_the_one_that_stands_alone_is_doubted() -> None:
    dx = ["nv", "mel", "nv", "nv"]
    found = suspects(images(dx, ["a", "a", "a", "b"]), None, NO_PAIRS)
    assert found[["image", "suggested"]].to_numpy().tolist() == [["i1", "nv"]]
    assert found["reason"][0].endswith("or nearly the same pictures, say otherwise: i0 (nv), i2 (nv).")


def test_between_two_pictures_the_models_decide_and_it_comes_before_what_they_alone_doubt() -> None:
    dx = ["nv", "mel", "mel"]
    models = says([{"nv": 0.1, "mel": 0.9}, {"nv": 0.1, "mel": 0.9}, {"nv": 0.99, "mel": 0.01}], dx)
    found = suspects(images(dx, ["a", "a", "b"]), models, NO_PAIRS)
    assert found[["rank", "image", "suggested"]].to_numpy().tolist() == [[1, "i0", "mel"], [2, "i2", "nv"]]


def test_near_duplicates_of_other_lesions_contradict_each_other() -> None:
    pairs = pd.DataFrame({"first": ["sha-i0", "sha-i9"], "second": ["sha-i1", "sha-i0"]})
    dx = ["nv", "mel"]
    models = says([{"nv": 0.8, "mel": 0.2}, {"nv": 0.6, "mel": 0.4}], dx)
    found = suspects(images(dx), models, pairs)
    assert found[["image", "suggested"]].to_numpy().tolist() == [["i1", "nv"]]
    assert "i0 (nv)" in found["reason"][0]


def test_labels_that_nothing_speaks_against_are_not_listed() -> None:
    dx = ["nv", "mel"]
    assert suspects(images(dx), says([{"nv": 0.9, "mel": 0.1}, {"mel": 0.6, "nv": 0.4}], dx), NO_PAIRS).empty
    assert suspects(images([]), None, NO_PAIRS).empty
