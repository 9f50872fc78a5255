"""Two versions beside each other on the page: the same as `skinlesion models compare` shows."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

import pytest
from tests.model_house import House
from tests.plugins.page_form import PAGE
from tests.plugins.test_page import text_of
from tests.training_record import write_training_record

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def test_two_versions_stand_beside_each_other_with_the_difference(
    vic: TestClient, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.add("one", house.scores(malignant=0.7))
    house.add("two", house.scores(malignant=0.95, benign=0.8))
    hostile = "<script>alert(1)</script>"
    write_training_record(house.candidate("two"), settings={"epochs": 9, "seed": 1, "weights": hostile}, images=16)
    monkeypatch.setenv("SKINLESION_MODELS", str(house.models))
    (link,) = re.findall(r'href="([^"]*/compare[^"]*)"', vic.get(f"{PAGE}/versions/2").text)
    page = vic.get(unescape(link))
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    text = text_of(page.text)
    assert "On the 420 held-out images, of 420 lesions" in text
    assert re.search(r"Sensitivity for malignant 0\.700 \(.*?\) 0\.950 \(.*?\) \+0\.250 \(.*?\) better", text)
    assert "epochs 2 9" in text
    assert "training images 8 16" in text
    itself = vic.get(f"{PAGE}/compare", params={"first": 2, "second": 2})
    assert (itself.status_code, "cannot be compared with itself" in itself.text) == (409, True)
