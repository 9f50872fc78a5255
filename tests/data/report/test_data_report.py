"""The data report counts what the catalog holds, stays small, stands alone and shows hostile text as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.data.catalogs import Rows, catalog_of
from tests.html_page import HOSTILE, Page

from skinlesion.data.finding import Finding, Row
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.report import thumbnails
from skinlesion.data.report.contents import (
    DataReport,
    DuplicatePair,
    ReasonCount,
    UnmappedDiagnosis,
    contents,
    equal_files,
)
from skinlesion.data.report.page import ContactSheet, Thumbnails, render


def images_of(catalog: pd.DataFrame) -> pd.DataFrame:
    images = catalog[catalog["refused"] == ""]
    return images.assign(**dict.fromkeys(STATISTICS, np.float32(100)))


def reported(rows: Rows, findings: Sequence[Finding] = (), duplicates: Sequence[DuplicatePair] = ()) -> DataReport:
    catalog = catalog_of(rows)
    return contents(catalog, images_of(catalog), list(findings), list(duplicates))


def test_images_and_lesions_are_counted_by_class_diagnosis_source_and_side() -> None:
    report = reported(
        [
            {"group": "L1", "source": "A"},
            {"group": "L1", "source": "A"},
            {"dx": "mel", "split": "held_out", "source": "A"},
            {"dx": "mel", "source": "B", "width": 1024},
            {"dx": "zebra", "source": "B"},
            {"refused": "the file is empty"},
        ]
    )
    assert (report.images, report.lesions, report.refused) == (5, 4, 1)
    counts = {(row.label, row.split): (row.images, row.lesions) for row in report.classes}
    assert counts["benign", "train"] == (2, 1)
    assert counts["malignant", "train"] == counts["malignant", "held_out"] == counts["unknown", "train"] == (1, 1)
    assert counts["benign", "held_out"] == (0, 0)
    by_dx = {row.dx: (row.label, row.images, row.held_out, row.unmapped) for row in report.diagnoses}
    assert by_dx == {"mel": ("malignant", 2, 1, False), "nv": ("benign", 2, 0, False), "zebra": ("unknown", 1, 0, True)}
    by_source = {row.source: row for row in report.sources}
    assert (by_source["A"].benign, by_source["A"].malignant, by_source["A"].lesions) == (2, 1, 2)
    assert (by_source["B"].sizes, by_source["A"].usual_size, by_source["A"].brightness) == (2, "600x450", 100)
    assert report.unmapped == [UnmappedDiagnosis(dx="zebra", images=1, examples=["I0004"])]
    assert report.refused_because == [ReasonCount(reason="the file is empty", images=1)]


def test_the_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    failed = Finding("x", "X", 1, 0, "failed", "one.", rows=(Row("I7", "I7.jpg", "gone"),))
    rows = [{"dx": "zebra", "source": "A"}, {"refused": "why", "file": "I9.jpg"}]
    report = reported(rows, [failed], [DuplicatePair("I1", "I2", "equal files")])
    report.write(tmp_path / "data_report.json")
    assert DataReport.read(tmp_path / "data_report.json") == report


def test_every_list_is_bounded() -> None:
    rows = [{"dx": f"dx{at}", "source": f"s{at}", "sha256": f"{at // 3}"} for at in range(600)]
    rows += [{"refused": f"reason {at}" + "x" * 1000} for at in range(300)] + [{"refused": "same"}] * 300
    catalog = catalog_of(rows)
    report = contents(catalog, images_of(catalog), [], equal_files(catalog))
    lists = ("diagnoses", "sources", "unmapped", "duplicates", "refused_because", "refused_files")
    assert [len(getattr(report, name)) for name in lists] == [100, 100, 100, 100, 50, 48]
    assert (report.diagnoses_total, report.sources_total, report.duplicates_total) == (600, 600, 400)
    assert len(report.line()) < 200_000
    assert report.refused_because[0] == ReasonCount(reason="same", images=300)


def test_equal_files_are_pairs_with_the_first_of_them() -> None:
    catalog = catalog_of(
        [{"sha256": "a"}, {"sha256": "b"}, {"sha256": "a"}, {"sha256": "a"}, {"sha256": "b", "refused": "x"}]
    )
    assert equal_files(catalog) == [DuplicatePair("I0000", other, "equal files") for other in ("I0002", "I0003")]


def test_a_failed_check_is_the_headline_and_names_its_rows() -> None:
    failed = Finding(
        "max_lost_share", "Lost images", 0.5, 0.1, "failed", "3 of 6 images.", rows=(Row("I7", "I7.jpg", "gone"),)
    )
    page = Page(render(reported([{}], [failed]), Thumbnails()))
    assert "Training data that was not accepted" in page.text
    assert re.search(r"Lost images max_lost_share 0\.5 0\.1 failed 3 of 6 images\. 1 image I7: gone", page.text)
    passed = Page(render(reported([{}]), Thumbnails()))
    assert "not accepted" not in passed.text


def test_the_page_loads_nothing_and_shows_hostile_text_as_text() -> None:
    hostile = HOSTILE.lower()  # as a diagnosis is stored
    rows = [{"dx": hostile, "source": hostile, "image": HOSTILE}, {"refused": HOSTILE, "file": HOSTILE}]
    finding = Finding(HOSTILE, HOSTILE, None, 0.1, "accepted", HOSTILE, rows=(Row(HOSTILE, HOSTILE, HOSTILE),))
    report = reported(rows, [finding], [DuplicatePair(HOSTILE, HOSTILE, HOSTILE)])
    shown = Thumbnails([ContactSheet("benign", [HOSTILE], b"\xff\xd8")], {"I0001": b"\xff\xd8"}, {HOSTILE: b"\xff\xd8"})
    html = render(report, shown)
    page = Page(html)
    assert "script" not in page.tags
    assert page.tags.count("img") == 4
    assert all(value and value.startswith("data:image/") for name, value in page.attributes if name in ("src", "href"))
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert page.text.count("<script>alert(") >= 12
    assert not re.search(r"url\(|@import", html)


def test_a_contact_sheet_takes_one_image_of_a_lesion_and_the_same_ones_in_any_order() -> None:
    catalog = catalog_of([{"group": f"L{at // 2}", "dx": ("nv", "mel")[at % 2]} for at in range(400)])
    chosen = thumbnails.chosen(catalog)
    again = thumbnails.chosen(catalog.sample(frac=1, random_state=1))
    for label in ("benign", "malignant"):
        assert len(chosen[label]) == thumbnails.COLUMNS * thumbnails.ROWS
        assert chosen[label]["group"].is_unique
        assert list(chosen[label]["image"]) == list(again[label]["image"])
    assert chosen["unknown"].empty


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (300, 200), (200, 20, 20)).save(tmp_path / "red.jpg")
    Image.new("RGBA", (40, 90), (0, 0, 255, 0)).save(tmp_path / "clear.png")
    Image.new("P", (64, 64), 3).save(tmp_path / "moving.gif", save_all=True, append_images=[Image.new("P", (64, 64))])
    whole = (tmp_path / "red.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "drawing.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n")
    return tmp_path


def test_what_can_be_shown_of_a_refused_file_is_shown(folder: Path) -> None:
    files = ["red.jpg", "clear.png", "moving.gif", "cut.jpg", "drawing.jpg", "gone.jpg", "../outside.jpg"]
    small = thumbnails.thumbnails(folder, files, max_pixels=10**6, workers=2)
    assert [picture is not None for picture in small] == [True, True, True, False, False, False, False]
    assert thumbnails.thumbnails(folder, ["red.jpg"], max_pixels=59_999, workers=1) == [None]


def test_a_place_on_a_sheet_is_empty_where_there_is_no_picture(folder: Path) -> None:
    sheet = thumbnails.contact_sheet(folder, ["red.jpg", "cut.jpg"] * 7, max_pixels=10**6, workers=2)
    (folder / "sheet.jpg").write_bytes(sheet)
    pixels = np.asarray(Image.open(folder / "sheet.jpg")).astype(int)
    assert pixels.shape == (2 * thumbnails.SIDE, thumbnails.COLUMNS * thumbnails.SIDE, 3)
    middle = thumbnails.SIDE // 2
    assert np.abs(pixels[middle, middle] - (200, 20, 20)).max() < 8
    assert np.abs(pixels[middle, middle + thumbnails.SIDE] - 128).max() < 8
    assert np.abs(pixels[-middle, -middle] - 128).max() < 8
