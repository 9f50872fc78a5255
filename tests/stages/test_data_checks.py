"""Nights on which something is wrong with the data as a whole, and nights on which nothing is."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tests.made_once import MakeOnce
from tests.stages.data_set import DataSet, Row, copy_tree, digests, ingest_killed_before_the_catalog, results, snapshot

from skinlesion.data.images.file import Pixels
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import bucket_of
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.ingest import ingest

Spoil = Callable[[Pixels], Pixels]

ACCEPTED, FRESH = 70, 40
TIGHT = {"min_images_checked": 20, "max_image_shift": 0.35, "max_class_shift": 0.05}
"""For data sets of a hundred images; the defaults are for thousands."""


class Nights(DataSet):
    """A data set of which the first images are accepted, and the others arrive as a test wishes."""

    def __init__(self, folder: Path, source: DataSet) -> None:
        super().__init__(folder, **TIGHT)
        self.source = source
        rows = source.rows()
        self.old, self.fresh = rows[:ACCEPTED], rows[ACCEPTED:]

    def ingest(self, **settings: Any) -> StageReport:
        return ingest(self.config(**settings))

    def arrive(self, rows: list[Row], spoil: Spoil = np.asarray, **values: str) -> None:
        """Let images arrive, spoiled and with other values in their rows."""
        for row in rows:
            self.put_spoiled(row["image"], spoil, ".png")
        self.write_rows([*self.rows(), *(row | values for row in rows)])

    def put_spoiled(self, image: str, spoil: Spoil, suffix: str) -> None:
        pixels = np.asarray(Image.open(self.source.original(f"{image}.jpg")))
        self.put(image + suffix, cv2.imencode(suffix, spoil(pixels)[..., ::-1])[1].tobytes())

    def in_force(self) -> tuple[bytes, bytes]:
        return layout.catalog(self.folder).read_bytes(), layout.split(self.folder).read_bytes()

    def failed_rows(self) -> list[Row]:
        with layout.failed_data_report(self.folder).with_suffix(".csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def findings(self) -> dict[str, dict[str, Any]]:
        report = json.loads(layout.data_report(self.folder).with_suffix(".json").read_text())
        return {check["title"]: check for check in report["checks"]}


@pytest.fixture(scope="session")
def grown(make_once: MakeOnce) -> DataSet:
    """Return a data set of 110 images. Never change it.

    All are of two buckets: a table of sixty parts, written at each ingest, would take a third of the time of these tests.
    """

    def draw(folder: Path) -> None:
        drawn, renamed = DataSet(folder / "drawn"), DataSet(folder / "dataset")
        write_sample(drawn.folder, images=ACCEPTED + FRESH, size=(96, 72))
        names = (name for number in itertools.count() if bucket_of(name := f"IL_{number:05d}") < 2)
        rows = [(row["image"], row | {"image": next(names)}) for row in drawn.rows()]
        for image, row in rows:
            renamed.put(f"{row['image']}.jpg", drawn.original(f"{image}.jpg").read_bytes())
        renamed.write_rows([row for _, row in rows])

    return DataSet(make_once("grown", draw) / "dataset")


@pytest.fixture
def first_night(grown: DataSet, tmp_path: Path) -> Nights:
    nights = Nights(tmp_path / "dataset", grown)
    nights.borrow(grown, nights.old)
    return nights


@pytest.fixture
def accepted(make_once: MakeOnce, grown: DataSet, tmp_path: Path) -> Nights:
    """Return nights of which the first is over."""

    def fill(folder: Path) -> None:
        nights = Nights(folder / "dataset", grown)
        nights.borrow(grown, nights.old)
        nights.ingest()

    copy_tree(make_once("accepted", fill) / "dataset", tmp_path / "dataset")
    return Nights(tmp_path / "dataset", grown)


def swapped(pixels: Pixels) -> Pixels:
    return pixels[..., ::-1]


def dark(pixels: Pixels) -> Pixels:
    return pixels // 2


def black(pixels: Pixels) -> Pixels:
    return pixels // 20  # not all alike: the same picture with two diagnoses is refused before it is judged


def of_another_size(pixels: Pixels) -> Pixels:
    return cv2.resize(pixels, (300, 225)).astype(np.uint8)


# --- Nothing is wrong ---------------------------------------------------------------------------------------------


def test_a_first_night_has_nothing_to_compare_with(accepted: Nights) -> None:
    found = accepted.findings()
    assert found["Refused images"]["verdict"] == found["Classes to train on"]["verdict"] == "passed"
    assert "no accepted catalog" in found["Appearance of the images"]["found"]


def test_too_few_images_are_not_judged_and_that_is_said(accepted: Nights) -> None:
    accepted.ingest(min_images_checked=1000, force=True)
    classes = accepted.findings()["Classes to train on"]
    assert (classes["verdict"], classes["bound"]) == ("not judged", 0)
    assert classes["found"] == f"{ACCEPTED} images; fewer than 1000 are not judged."


def test_more_of_the_same_is_accepted(accepted: Nights) -> None:
    accepted.arrive(accepted.fresh)
    report = accepted.ingest()
    assert report.details["accepted"] == ACCEPTED + FRESH
    assert {check["verdict"] for check in accepted.findings().values()} == {"passed"}


def test_a_new_source_is_reported_and_stops_nothing(accepted: Nights) -> None:
    accepted.arrive(accepted.fresh, swapped, source="another hospital", dx="mel")
    accepted.ingest()
    found = accepted.findings()["New source"]
    assert (found["verdict"], found["found"][:30]) == ("not judged", "40 images of another hospital:")


def test_a_small_night_does_not_fire(accepted: Nights) -> None:
    accepted.arrive(accepted.fresh[:19], black, dx="mel")
    accepted.ingest()
    assert accepted.findings()["New images"]["verdict"] == "not judged"


def test_a_night_with_nothing_new_writes_no_report_and_opens_no_image(
    accepted: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(accepted.folder)
    monkeypatch.setattr("skinlesion.data.checks.gate.contents", None)
    monkeypatch.setattr("skinlesion.data.report.thumbnails.Image", None)
    accepted.ingest()
    assert snapshot(accepted.folder) == before


# --- Something is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "moved"),
    [
        (swapped, "red's share|blue's share|red|blue"),
        (dark, "brightness"),
        (lambda pixels: (pixels * (1, 1, 0.5)).astype(np.uint8), "blue"),
        (black, "brightness|contrast"),
        (of_another_size, r"size moved most: its median from 0\.00\d+ MP to 0\.07"),
        (np.rot90, "aspect moved most"),
    ],
)
def test_a_night_of_images_that_look_different_leaves_the_accepted_catalog_in_force(
    accepted: Nights, spoil: Spoil, moved: str
) -> None:
    before = accepted.in_force()
    accepted.arrive(accepted.fresh, spoil)
    with pytest.raises(DataError, match=rf"New images: of 40, .*({moved})") as error:
        accepted.ingest()
    assert accepted.in_force() == before
    message, stays = str(error.value), f"{layout.catalog(accepted.folder)} stays as it was"
    for words in (stays, "at most 0.35 may be", "max_image_shift", "accept_data_changes=true"):
        assert words in message
    rows = [row for row in accepted.failed_rows() if row["title"] == "New images"]
    fresh = {row["image"] for row in accepted.fresh}
    assert {row["image"] for row in rows} <= fresh
    assert len(rows) > FRESH / 3
    assert rows[0]["image"] in message
    report = layout.failed_data_report(accepted.folder)
    assert "was not accepted" in report.read_text()


def no_diagnosis(nights: Nights) -> None:
    nights.write_rows([row | {"dx": "zebra"} for row in nights.rows()])


def one_class(nights: Nights) -> None:
    nights.write_rows([row | {"dx": "nv"} for row in nights.rows()])


def half_are_gone(nights: Nights) -> None:
    for row in nights.old[::2]:
        nights.original(f"{row['image']}.jpg").unlink()


def half_the_table_is_gone(nights: Nights) -> None:
    nights.write_rows(nights.rows()[: ACCEPTED // 2])


def diagnoses_slipped(nights: Nights) -> None:
    rows = nights.rows()
    slipped = [row["dx"] for row in rows[1:]] + [rows[0]["dx"]]
    nights.write_rows([row | {"dx": dx} for row, dx in zip(rows, slipped, strict=True)])


def all_new_are_malignant(nights: Nights) -> None:
    nights.arrive(nights.fresh, dx="mel")


def new_are_damaged(nights: Nights) -> None:
    nights.arrive(nights.fresh)
    for row in nights.fresh:
        path = nights.original(f"{row['image']}.png")
        path.write_bytes(path.read_bytes()[:-30])


def unknown_is_gone(nights: Nights) -> None:
    rows = nights.rows()
    nights.write_rows([row | ({"dx": "mel"} if row["dx"] in ("ak", "unk") else {}) for row in rows])


WRONG = {
    "unmapped": (no_diagnosis, "max_unmapped_share", r"70 of 70 accepted images have a diagnosis that is not recog"),
    "one class": (one_class, "require_classes", r"no image of 70 is malignant"),
    "class gone": (unknown_is_gone, "require_classes", r"unknown had \d+ images in the accepted catalog"),
    "files gone": (half_are_gone, "max_lost_share", r"35 of 70 images of the accepted catalog are gone"),
    "rows gone": (half_the_table_is_gone, "max_lost_share", r"35 of 70 images of the accepted catalog are gone"),
    "slipped": (diagnoses_slipped, "max_relabelled_share", r"of 70 images of the accepted catalog have another class"),
    "malignant": (all_new_are_malignant, "max_class_shift", r"malignant went from .* of 70 images to .* of 110, 0\."),
    "damaged": (new_are_damaged, "max_refused_share", r"40 of 40 new image files are refused"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_check_that_fails_names_its_figure_and_rows_changes_nothing_and_can_be_switched_off(
    accepted: Nights, what: str
) -> None:
    spoil, check, message = WRONG[what]
    before = accepted.in_force()
    spoil(accepted)
    with pytest.raises(DataError, match=message) as error:
        accepted.ingest()
    assert accepted.in_force() == before
    assert check in str(error.value)
    assert len(str(error.value)) < 10_000
    if what != "one class":
        assert len([row for row in accepted.failed_rows() if row["check"] == check]) >= 7
    shares = (
        "refused_share", "unmapped_share", "lost_share", "relabelled_share", "class_shift", "image_shift", "one_id_share",
        "held_out_gap",
    )  # fmt: skip
    accepted.ingest(require_classes=False, **{f"max_{name}": 1 for name in shares})
    findings = accepted.findings()
    assert findings.pop("Words for malignant diseases")["verdict"] == "passed"
    assert {found["verdict"] for found in findings.values()} == {"not judged"}


@pytest.mark.parametrize("what", ["slipped", "damaged", "files gone", "unmapped"])
def test_what_a_run_accepts_is_what_the_next_is_compared_with(accepted: Nights, what: str) -> None:
    WRONG[what][0](accepted)
    with pytest.raises(DataError):
        accepted.ingest()
    accepted.ingest(accept_data_changes=True)
    assert "accepted" in {check["verdict"] for check in accepted.findings().values()}
    assert not layout.failed_data_report(accepted.folder).exists()
    alone = {"max_refused_share": 0.5, "max_unmapped_share": 1, "require_classes": False}
    accepted.ingest(**(alone if what in ("damaged", "unmapped") else {}))


def test_a_camera_that_was_accepted_once_is_not_held_up_again(accepted: Nights) -> None:
    accepted.arrive(accepted.fresh[:20], of_another_size)
    with pytest.raises(DataError, match="New images"):
        accepted.ingest()
    accepted.ingest(accept_data_changes=True)
    accepted.arrive(accepted.fresh[20:], of_another_size)
    assert accepted.ingest().details["accepted"] == ACCEPTED + FRESH


def test_the_appearance_does_not_drift_away_night_by_night(accepted: Nights) -> None:
    def darker(share: float) -> Spoil:
        return lambda pixels: (pixels * share).astype(np.uint8)

    dark_nights = {"min_images_checked": 10, "max_image_shift": 0.45}
    accepted.arrive(accepted.fresh[:20], darker(0.85))
    accepted.ingest(**dark_nights)
    accepted.arrive(accepted.fresh[20:], darker(0.6))
    with pytest.raises(DataError, match="New images"):
        accepted.ingest(**dark_nights)


def test_images_that_were_all_replaced_are_compared_with_those_that_were(accepted: Nights) -> None:
    for row in accepted.old:
        accepted.put_spoiled(row["image"], dark, ".jpg")
    with pytest.raises(DataError, match=r"New images: of 70, (brightness|red|green|blue) moved most"):
        accepted.ingest()


def test_a_source_is_judged_apart_from_the_others(accepted: Nights) -> None:
    accepted.write_rows([row | {"source": "AB"[at % 2]} for at, row in enumerate(accepted.rows())])
    accepted.ingest()
    accepted.arrive(accepted.fresh, dark, source="B")
    with pytest.raises(DataError, match="New images, B: of 40") as error:
        accepted.ingest()
    assert "New images, A" not in str(error.value)


def test_a_first_night_that_fails_writes_no_catalog(first_night: Nights) -> None:
    first_night.relabel({row["image"] for row in first_night.old}, dx="zebra")
    with pytest.raises(DataError, match=r"did not pass 2 checks; .*catalog\.parquet was not written"):
        first_night.ingest()
    left = {path.name for path in first_night.folder.iterdir()}
    failed = {f"data_report_failed.{suffix}" for suffix in ("html", "json", "csv")}
    assert left == {"images", "diagnoses.csv", "tables"} | failed
    before = snapshot(first_night.folder)
    with pytest.raises(DataError):
        first_night.ingest()
    assert snapshot(first_night.folder) == before


def test_mending_the_data_removes_the_failed_report(accepted: Nights) -> None:
    before = digests(accepted.folder)
    rows = accepted.rows()
    diagnoses_slipped(accepted)
    with pytest.raises(DataError):
        accepted.ingest()
    accepted.write_rows(rows)
    accepted.ingest()
    assert digests(accepted.folder) == before


def test_a_run_that_is_killed_before_the_catalog_gives_the_same_report_again(accepted: Nights) -> None:
    accepted.arrive(accepted.fresh)
    ingest_killed_before_the_catalog(accepted.config())
    between = results(accepted.folder)
    accepted.ingest()
    after = results(accepted.folder)
    assert {path for path in after if after[path] != between.get(path)} == {"catalog.parquet"}
    assert accepted.findings()["New images"]["verdict"] == "passed"


def test_a_formula_in_a_name_reaches_no_spreadsheet(accepted: Nights) -> None:
    name = "=HYPERLINK(A1)"
    accepted.add(name, accepted.original(f"{accepted.old[0]['image']}.jpg").read_bytes())
    accepted.ingest()
    no_diagnosis(accepted)
    with pytest.raises(DataError):
        accepted.ingest()
    named = {row["image"] for row in accepted.failed_rows()}
    assert f"'{name}" in named
    assert name not in named
