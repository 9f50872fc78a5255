"""An id that stands for nothing, a class that cannot be measured and a word at which nobody may guess stop ingest."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.data.catalogs import catalog_of

from skinlesion.data.checks.checks import check_alone
from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.finding import Finding

Row = dict[str, object]


def finding(title: str, rows: Iterable[Row], **settings: object) -> Finding:
    """Return the finding of this title on a catalog of these rows, a fifth of them held out unless they say otherwise."""
    catalog = catalog_of([{"split": "held_out" if at % 5 == 0 else "train"} | row for at, row in enumerate(rows)])
    [found] = [one for one in check_alone(CheckSettings.of(settings), catalog) if one.title == title]
    return found


def one_id(rows: Iterable[Row], **settings: object) -> Finding:
    return finding("Images of one id", rows, **settings)


def lesions(count: int, images: int = 2, **values: object) -> list[Row]:
    return [{"lesion_id": f"L{lesion}", **values} for lesion in range(count) for _ in range(images)]


def patients(sizes: Iterable[int]) -> list[Row]:
    return [{"patient_id": f"P{patient}"} for patient, size in enumerate(sizes) for _ in range(size)]


def nothing(images: int, dx: Iterable[str] = ("nv",), **values: object) -> list[Row]:
    names = list(dx)
    return [{"dx": names[at % len(names)], **values} for at in range(images)]


OF_SOURCES = [row for one in "ABC" for row in nothing(15, lesion_id="zz", source=one)]
OF_FIVE_DIAGNOSES = nothing(60, ["nv", "mel", "bcc", "ak", "df"], patient_id="zz")
TOO_MUCH: dict[str, tuple[list[Row], str]] = {
    "all, one patient": (nothing(60, patient_id="???x"), "the patient '???x' has the most: 60 of 60"),
    "all, one lesion": (nothing(60, lesion_id="zz"), "the lesion 'zz' has the most: 60 of 60"),
    "half, lesion": ([*lesions(50), *nothing(100, lesion_id="zz")], "lesion 'zz' has the most: 100 of 200"),
    "half of a small set": ([*patients([1] * 30), *nothing(30, patient_id="zz")], "patient 'zz'"),
    "half, patient": ([*patients([2] * 50), *nothing(100, patient_id="zz")], "patient 'zz'"),
    "four in a hundred, of three diagnoses": (
        [*lesions(500), *nothing(40, ["nv", "mel", "bcc"], lesion_id="zz")],
        "40 of 1,040 images (3.8%) with 3 diagnoses",
    ),
    "of three sources": ([*lesions(500), *OF_SOURCES], "with 1 diagnosis from 3 sources"),
    "twenty times the images": ([*patients([3] * 400), *OF_FIVE_DIAGNOSES], "the patient 'zz' has the most: 60"),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_an_id_that_covers_too_much_stops_ingest_and_is_named(kind: str) -> None:
    rows, named = TOO_MUCH[kind]
    found = one_id(rows)
    assert found.verdict == "failed"
    assert named in found.found
    assert "leave these cells of" in found.remedy
    assert "max_one_id_share=1" in found.remedy


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(lesions(100, images=6), id="HAM10000"),
        pytest.param([*lesions(5000), *nothing(31, lesion_id="BCN_1")], id="ISIC 2019"),
        pytest.param([*patients([16] * 60), *patients([115])], id="ISIC 2020"),
        pytest.param(patients([918, 550, 500] + [40] * 900), id="ISIC 2024, by ten"),
        pytest.param(patients([40, 10, 10, 10, 10]), id="a small set with one patient who has half of it"),
        pytest.param(patients([20, 20, 20]), id="three patients"),
        pytest.param([*lesions(40), *nothing(20, lesion_id="video")], id="a series of one lesion"),
        pytest.param(nothing(100), id="no ids"),
        pytest.param(nothing(40, lesion_id="zz"), id="too few to be judged"),
    ],
)
def test_ids_of_real_sets_pass(rows: list[Row]) -> None:
    assert one_id(rows).verdict in ("passed", "not judged")


@pytest.mark.parametrize(
    ("settings", "verdict"), [("accept_data_changes", "accepted"), ("max_one_id_share", "not judged")]
)
def test_who_knows_that_an_id_is_right_is_not_stuck(settings: str, verdict: str) -> None:
    assert one_id(nothing(60, lesion_id="zz"), **{settings: 1}).verdict == verdict


# --- What is held out ---------------------------------------------------------------------------------------------


def sides(of_class: dict[str, tuple[int, int]]) -> list[Row]:
    """Return rows with so many training and held-out images of each diagnosis."""
    return [
        {"dx": dx, "split": side, "lesion_id": f"{dx}{side}"[:3] if at % 2 else ""}
        for dx, numbers in of_class.items()
        for side, number in zip(("train", "held_out"), numbers, strict=True)
        for at in range(number)
    ]


@pytest.mark.parametrize(
    ("of_class", "expected"),
    [
        ({"nv": (160, 40), "mel": (99, 1)}, "1 of 100 images that are malignant (1.0%) are held out; wanted are"),
        ({"nv": (160, 40), "mel": (12, 0)}, "0 of 12 images that are malignant (0.0%) are held out"),
        ({"nv": (60, 0), "mel": (12, 0)}, "0 of 60 images that are benign"),
        ({"nv": (160, 40), "mel": (40, 10), "ak": (98, 2)}, "2 of 100 images that are unknown (2.0%)"),
    ],
)
def test_a_class_of_which_too_little_is_held_out_stops_ingest(
    of_class: dict[str, tuple[int, int]], expected: str
) -> None:
    found = finding("Held-out part of each class", sides(of_class))
    assert found.verdict == "failed"
    assert expected in found.found
    assert "correct the ids" in found.remedy


def test_the_id_that_keeps_a_class_on_one_side_is_named() -> None:
    found = finding("Held-out part of each class", nothing(60, patient_id="zz", split="train"))
    assert "The patient 'zz' has 60 of them" in found.remedy and "max_held_out_gap=1" in found.remedy


@pytest.mark.parametrize(
    "of_class",
    [
        {"nv": (160, 40), "mel": (90, 10)},
        {"nv": (160, 40), "mel": (8, 0)},
        {"nv": (160, 40), "mel": (17, 1)},
        {"nv": (950, 50), "mel": (95, 5)},  # decided with a smaller held_out_fraction
    ],
)
def test_what_chance_and_other_settings_make_passes(of_class: dict[str, tuple[int, int]]) -> None:
    assert finding("Held-out part of each class", sides(of_class)).verdict == "passed"


# --- Words --------------------------------------------------------------------------------------------------------


def test_one_word_that_may_be_malignant_stops_ingest_whatever_its_share() -> None:
    rows: list[Row] = [*nothing(999), {"dx": "melanoma excluded", "image": "here"}]
    found = finding("Words for malignant diseases", rows)
    assert found.verdict == "failed"
    assert "1 word of 1 image may name a malignant disease or deny one" in found.found
    assert "'melanoma excluded' (1)" in found.found
    assert "labels/vocabulary.csv" in found.remedy
    assert [row.image for row in found.rows] == ["here"]


def test_words_that_are_known_or_cannot_be_malignant_do_not_stop_it() -> None:
    rows = nothing(100, ["melanoma", "zebra", "", "Melanoma in situ", "malignant"])
    assert finding("Words for malignant diseases", rows, max_unmapped_share=1).verdict == "passed"


def test_few_images_are_judged_too() -> None:
    assert finding("Words for malignant diseases", nothing(2, ["no melanoma"])).verdict == "failed"
