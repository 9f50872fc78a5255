"""The document for a reviewer: the plan, the protocol from the settings in force, and every record."""

from __future__ import annotations

import re
from pathlib import Path

from tests.promotion.change_plan.conftest import Nights

from skinlesion.promotion.change_plan.document import document
from skinlesion.promotion.settings import PromotionSettings


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page.partition("<body>")[2]))


def test_it_has_the_plan_the_gates_settings_as_they_are_and_every_version(nights: Nights) -> None:
    nights.write_plan()
    nights.in_service()
    corrected = nights.rows(8)
    corrected.loc[0, ["dx", "label"]] = ["mel", "malignant"]
    nights.asked(nights.trained("two", corrected, settings={"epochs": 400}))
    nights.house.add("three")
    text = words(document(nights.config(gate_min_auroc=0.8125)))
    for name in PromotionSettings.own_fields():
        if name.startswith("gate_"):
            assert f" {name} " in text
    assert " gate_min_auroc 0.8125 Gate: lowest malignant AUROC." in text
    assert "A version that finds fewer malignant lesions would do the most harm." in text
    assert "epochs is 400; the model in service has 2: the plan allows from 1 to 100." in text
    assert "2 training images are new." in text
    assert "promoted by ann" in text
    assert "It was not judged." in text
    assert "Not a medical device" in text and "no legal advice" in text


def test_it_loads_nothing_and_takes_no_name_for_markup(nights: Nights) -> None:
    nights.in_service()
    nights.asked(nights.trained("two", nights.rows(7, dx="<script>alert(1)</script>")))
    page = document(nights.config())
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"'](?!#)|url\(|@import", page)


def test_a_damaged_plan_and_a_damaged_record_are_in_it_with_what_is_wrong(nights: Nights) -> None:
    one = nights.in_service()
    (nights.house.candidate("one").folder / "change_record.json").write_text('{"version": "x"}')
    nights.plan.write_text("by_itself: 3\n")
    text = words(document(nights.config()))
    assert "The change plan is damaged, so nothing goes into service by itself." in text
    assert "the field `version` does not fit" in text
    assert f" {one} " in text


def test_without_a_version_there_is_the_plan(nights: Nights, tmp_path: Path) -> None:
    text = words(document(nights.config(models=tmp_path / "empty")))
    assert "There is no version yet." in text
