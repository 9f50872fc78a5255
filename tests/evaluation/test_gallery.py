"""The gallery has every held-out image, and its choices are rules of style that name what each image is."""

from __future__ import annotations

import re

import pytest
from tests.evaluation.test_html_report import context
from tests.html_page import HOSTILE, Page

from skinlesion.evaluation.gallery import CONFIDENCES, ERRORS, MOST_WITHIN, Seen, is_beside
from skinlesion.evaluation.html_report import render_gallery, render_report
from skinlesion.registry.group_decisions import DECISIONS

SEEN = [
    Seen("I1", "mel", "malignant", "benign", 0.95, b"1"),
    Seen("I2", "mel", "malignant", "no answer", 0.4, b"2"),
    Seen("I3", "nv", "benign", "malignant", 0.75, b"3"),
    Seen("I4", HOSTILE, "unknown", "unknown", 0.6, b"4"),
]


@pytest.mark.parametrize(
    ("truth", "decision", "error"),
    [
        ("malignant", "benign", "missed"),
        ("malignant", "no answer", "right"),
        ("malignant", "unknown", "right"),
        ("benign", "malignant", "alarm"),
        ("unknown", "malignant", "alarm"),
        ("benign", "benign", "right"),
    ],
)
def test_an_error_is_what_people_are_told_wrongly(truth: str, decision: str, error: str) -> None:
    assert Seen("I", "dx", truth, decision, 0.5, b"").error == error
    assert error in ERRORS


def test_confidence_falls_in_one_band() -> None:
    bands = [Seen("I", "dx", "benign", "benign", share, b"").band for share in (0.34, 0.5, 0.69, 0.7, 0.9, 1.0)]
    assert bands == [0, 1, 1, 2, 3, 3]
    assert max(bands) == len(CONFIDENCES)


def test_each_choice_hides_what_it_does_not_name() -> None:
    html = render_report(context(gallery=SEEN))
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count("I1") == page.text.count("I4") == 1
    values = re.findall(r'<option value="(\w+)">', html)
    assert len(values) == 3 + len(DECISIONS) + len(ERRORS) + len(CONFIDENCES) + 1
    classes = [found.split() for found in re.findall(r'<figure class="(dx[^"]+)">', html)]
    assert len(classes) == len(SEEN) and all(set(one) <= set(values) for one in classes)
    for value in values:
        assert f'#gallery:has([value="{value}"]:checked) figure:not(.{value})' in html


def test_many_images_are_in_a_file_beside_the_report() -> None:
    many = [Seen("I", "mel", "malignant", "benign", 0.9, bytes(MOST_WITHIN // 2)) for _ in range(3)]
    assert is_beside(many) and not is_beside(SEEN)
    beside = context(gallery=[*SEEN, *many])
    report, gallery = render_report(beside), render_gallery(beside)
    assert 'href="gallery.html#gallery"' in report and "<option" not in report
    page = Page(gallery)
    assert "I3" in page.text and "script" not in page.tags and 'id="gallery"' in gallery
