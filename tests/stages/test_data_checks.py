"""Nights on which something is wrong with the data as a whole, and nights on which nothing is."""

from __future__ import annotations

import csv
import json
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from skinlesion.data import catalog as contract
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.ingest import ingest

ACCEPTED, FRESH = 70, 40
TIGHT = {"min_images_checked": 20, "max_image_shift": 0.35, "max_class_shift": 0.05}
"""For data sets of a hundred images; the defaults are for thousands."""


@pytest.fixture(scope="session")
def grown(tmp_path_factory):
    """Never change it; 110 images."""
    folder = tmp_path_factory.mktemp("grown") / "dataset"
    write_sample(folder, images=ACCEPTED + FRESH, size=(96, 72))
    return folder


class Nights:
    """A data set of which the first images are accepted, and the others arrive as a test wishes."""

    def __init__(self, dataset, rows, source):
        self.dataset, self.source = dataset, source
        self.old, self.fresh = rows[:ACCEPTED], rows[ACCEPTED:]

    def arrive(self, rows, spoil=lambda pixels: pixels, **values):
        """Let images arrive, spoiled and with other values in their rows."""
        for row in rows:
            pixels = np.asarray(Image.open(self.source / f"{row['image']}.jpg"))
            content = cv2.imencode(".png", spoil(pixels)[..., ::-1])[1].tobytes()
            self.dataset.put(f"{row['image']}.png", content)
        self.dataset.write_rows([*self.dataset.rows(), *(row | values for row in rows)])


@pytest.fixture
def nights(grown, dataset_folder):
    rows = dataset_folder.rows()
    return Nights(dataset_folder, rows, layout.images(grown))


@pytest.fixture
def dataset_folder(grown, dataset):
    """The fixture `dataset` with the first of the grown data set instead; its rows are those of all."""
    shutil.rmtree(dataset.folder)
    layout.images(dataset.folder).mkdir(parents=True)
    shutil.copy(grown / "diagnoses.csv", dataset.labels)
    for row in dataset.rows()[:ACCEPTED]:
        shutil.copy2(layout.images(grown) / f"{row['image']}.jpg", layout.images(dataset.folder))
    return dataset


@pytest.fixture
def accepted(nights, config):
    """Nights of which the first is over."""
    nights.dataset.write_rows(nights.old)
    ingest(config(**TIGHT))
    return nights


def in_force(dataset):
    return layout.catalog(dataset.folder).read_bytes(), layout.split(dataset.folder).read_bytes()


def failed_rows(dataset):
    with layout.failed_data_report(dataset.folder).with_suffix(".csv").open(newline="") as file:
        return list(csv.DictReader(file))


def findings(dataset):
    report = json.loads(layout.data_report(dataset.folder).with_suffix(".json").read_text())
    return {check["title"]: check for check in report["checks"]}


def swapped(pixels):
    return pixels[..., ::-1]


def dark(pixels):
    return pixels // 2


def too_little_blue(pixels):
    return (pixels * (1, 1, 0.5)).astype(np.uint8)


def black(pixels):
    return pixels // 20  # not all alike: the same picture with two diagnoses is refused before it is judged


def of_another_size(pixels):
    return cv2.resize(pixels, (300, 225))


def upright(pixels):
    return np.rot90(pixels)


# --- Nothing is wrong ---------------------------------------------------------------------------------------------


def test_a_first_night_has_nothing_to_compare_with(accepted):
    found = findings(accepted.dataset)
    assert found["Refused images"]["verdict"] == found["Classes to train on"]["verdict"] == "passed"
    assert "no accepted catalog" in found["Appearance of the images"]["found"]


def test_too_few_images_are_not_judged_and_that_is_said(accepted, config):
    ingest(config(min_images_checked=1000, force=True))
    classes = findings(accepted.dataset)["Classes to train on"]
    assert (classes["verdict"], classes["bound"]) == ("not judged", 0)
    assert classes["found"] == f"{ACCEPTED} images; fewer than 1000 are not judged."


def test_more_of_the_same_is_accepted(accepted, config):
    accepted.arrive(accepted.fresh)
    report = ingest(config(**TIGHT))
    assert report.details["accepted"] == ACCEPTED + FRESH
    assert {check["verdict"] for check in findings(accepted.dataset).values()} == {"passed"}


def test_a_new_source_is_reported_and_stops_nothing(accepted, config):
    accepted.arrive(accepted.fresh, swapped, source="another hospital", dx="mel")
    ingest(config(**TIGHT))
    found = findings(accepted.dataset)["New source"]
    assert (found["verdict"], found["found"][:30]) == ("not judged", "40 images of another hospital:")


def test_a_small_night_does_not_fire(accepted, config):
    accepted.arrive(accepted.fresh[:19], black, dx="mel")
    ingest(config(**TIGHT))
    assert findings(accepted.dataset)["New images"]["verdict"] == "not judged"


def test_a_night_with_nothing_new_writes_no_report_and_opens_no_image(accepted, config, snapshot, monkeypatch):
    before = snapshot(accepted.dataset.folder)
    monkeypatch.setattr("skinlesion.data.report.written.contents", None)
    monkeypatch.setattr("skinlesion.data.report.thumbnails.Image", None)
    ingest(config(**TIGHT))
    assert snapshot(accepted.dataset.folder) == before


# --- Something is wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "moved"),
    [
        (swapped, "red's share|blue's share|red|blue"),
        (dark, "brightness"),
        (too_little_blue, "blue"),
        (black, "brightness|contrast"),
        (of_another_size, r"size moved most: its median from 0\.00\d+ MP to 0\.07"),
        (upright, "aspect moved most"),
    ],
)
def test_a_night_of_images_that_look_different_leaves_the_accepted_catalog_in_force(accepted, config, spoil, moved):
    before = in_force(accepted.dataset)
    accepted.arrive(accepted.fresh, spoil)
    with pytest.raises(DataError, match=rf"New images: of 40, .*({moved})") as error:
        ingest(config(**TIGHT))
    assert in_force(accepted.dataset) == before
    message = str(error.value)
    assert f"{layout.catalog(accepted.dataset.folder)} stays as it was" in message
    assert "at most 0.35 may be" in message
    assert "max_image_shift" in message
    assert "accept_data_changes=true" in message
    rows = [row for row in failed_rows(accepted.dataset) if row["title"] == "New images"]
    fresh = {row["image"] for row in accepted.fresh}
    assert {row["image"] for row in rows} <= fresh
    assert len(rows) > FRESH / 3
    assert rows[0]["image"] in message
    report = layout.failed_data_report(accepted.dataset.folder)
    assert "was not accepted" in report.read_text()


def no_diagnosis(nights):
    nights.dataset.write_rows([row | {"dx": "zebra"} for row in nights.dataset.rows()])


def one_class(nights):
    nights.dataset.write_rows([row | {"dx": "nv"} for row in nights.dataset.rows()])


def half_are_gone(nights):
    for row in nights.old[::2]:
        nights.dataset.original(f"{row['image']}.jpg").unlink()


def half_the_table_is_gone(nights):
    nights.dataset.write_rows(nights.dataset.rows()[: ACCEPTED // 2])


def diagnoses_slipped(nights):
    rows = nights.dataset.rows()
    slipped = [row["dx"] for row in rows[1:]] + [rows[0]["dx"]]
    nights.dataset.write_rows([row | {"dx": dx} for row, dx in zip(rows, slipped, strict=True)])


def all_new_are_malignant(nights):
    nights.arrive(nights.fresh, dx="mel")


def new_are_damaged(nights):
    nights.arrive(nights.fresh)
    for row in nights.fresh:
        path = nights.dataset.original(f"{row['image']}.png")
        path.write_bytes(path.read_bytes()[:-30])


def unknown_is_gone(nights):
    rows = nights.dataset.rows()
    nights.dataset.write_rows([row | ({"dx": "mel"} if row["dx"] in ("ak", "unk") else {}) for row in rows])


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
def test_a_check_that_fails_names_its_figure_and_rows_and_changes_nothing(accepted, config, what):
    spoil, check, message = WRONG[what]
    before = in_force(accepted.dataset)
    spoil(accepted)
    with pytest.raises(DataError, match=message) as error:
        ingest(config(**TIGHT))
    assert in_force(accepted.dataset) == before
    assert check in str(error.value)
    assert "Traceback" not in str(error.value)
    assert len(str(error.value)) < 10_000
    if what != "one class":
        assert len([row for row in failed_rows(accepted.dataset) if row["check"] == check]) >= 7


@pytest.mark.parametrize("what", WRONG)
def test_a_check_can_be_switched_off(accepted, config, what):
    spoil, _, _ = WRONG[what]
    spoil(accepted)
    shares = ("refused_share", "unmapped_share", "lost_share", "relabelled_share", "class_shift", "image_shift")
    ingest(config(min_images_checked=20, require_classes=False, **{f"max_{name}": 1 for name in shares}))
    assert {check["verdict"] for check in findings(accepted.dataset).values()} == {"not judged"}


@pytest.mark.parametrize("what", ["slipped", "damaged", "files gone", "unmapped"])
def test_what_a_run_accepts_is_what_the_next_is_compared_with(accepted, config, what):
    WRONG[what][0](accepted)
    with pytest.raises(DataError):
        ingest(config(**TIGHT))
    ingest(config(**TIGHT, accept_data_changes=True))
    assert "accepted" in {check["verdict"] for check in findings(accepted.dataset).values()}
    assert not layout.failed_data_report(accepted.dataset.folder).exists()
    alone = {"max_refused_share": 0.5, "max_unmapped_share": 1, "require_classes": False}
    ingest(config(**TIGHT, **(alone if what in ("damaged", "unmapped") else {})))


def test_a_camera_that_was_accepted_once_is_not_held_up_again(accepted, config):
    accepted.arrive(accepted.fresh[:20], of_another_size)
    with pytest.raises(DataError, match="New images"):
        ingest(config(**TIGHT))
    ingest(config(**TIGHT, accept_data_changes=True))
    accepted.arrive(accepted.fresh[20:], of_another_size)
    assert ingest(config(**TIGHT)).details["accepted"] == ACCEPTED + FRESH


def test_the_appearance_does_not_drift_away_night_by_night(accepted, config):
    def darker(share):
        return lambda pixels: (pixels * share).astype(np.uint8)

    dark_nights = {"min_images_checked": 10, "max_image_shift": 0.45}
    accepted.arrive(accepted.fresh[:20], darker(0.85))
    ingest(config(**dark_nights))
    accepted.arrive(accepted.fresh[20:], darker(0.6))
    with pytest.raises(DataError, match="New images"):
        ingest(config(**dark_nights))


def test_images_that_were_all_replaced_are_compared_with_those_that_were(accepted, config):
    for row in accepted.old:
        pixels = np.asarray(Image.open(accepted.dataset.original(f"{row['image']}.jpg")))
        accepted.dataset.put(f"{row['image']}.jpg", cv2.imencode(".jpg", dark(pixels)[..., ::-1])[1].tobytes())
    with pytest.raises(DataError, match=r"New images: of 70, (brightness|red|green|blue) moved most"):
        ingest(config(**TIGHT))


def test_a_source_is_judged_apart_from_the_others(accepted, config):
    accepted.dataset.write_rows([row | {"source": "AB"[at % 2]} for at, row in enumerate(accepted.dataset.rows())])
    ingest(config(**TIGHT))
    accepted.arrive(accepted.fresh, dark, source="B")
    with pytest.raises(DataError, match="New images, B: of 40") as error:
        ingest(config(**TIGHT))
    assert "New images, A" not in str(error.value)


def test_a_first_night_that_fails_writes_no_catalog(nights, config, snapshot):
    nights.dataset.write_rows([row | {"dx": "zebra"} for row in nights.old])
    with pytest.raises(DataError, match=r"did not pass 2 checks; .*catalog\.parquet was not written"):
        ingest(config(**TIGHT))
    left = {path.name for path in nights.dataset.folder.iterdir()}
    failed = {f"data_report_failed.{suffix}" for suffix in ("html", "json", "csv")}
    assert left == {"images", "diagnoses.csv", "tables"} | failed
    before = snapshot(nights.dataset.folder)
    with pytest.raises(DataError):
        ingest(config(**TIGHT))
    assert snapshot(nights.dataset.folder) == before


def test_mending_the_data_removes_the_failed_report(accepted, config, snapshot):
    before = snapshot(accepted.dataset.folder)
    rows = accepted.dataset.rows()
    diagnoses_slipped(accepted)
    with pytest.raises(DataError):
        ingest(config(**TIGHT))
    accepted.dataset.write_rows(rows)
    ingest(config(**TIGHT))
    after = snapshot(accepted.dataset.folder)
    assert {path: digest for path, (digest, _) in after.items()} == {
        path: digest for path, (digest, _) in before.items()
    }


def test_a_run_that_is_killed_before_the_catalog_gives_the_same_report_again(accepted, config, results, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    accepted.arrive(accepted.fresh)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(contract, "write_catalog", killed)
        ingest(config(**TIGHT))
    between = results(accepted.dataset.folder)
    ingest(config(**TIGHT))
    after = results(accepted.dataset.folder)
    assert {path for path in after if after[path] != between.get(path)} == {"catalog.parquet"}
    assert findings(accepted.dataset)["New images"]["verdict"] == "passed"


def test_a_formula_in_a_name_reaches_no_spreadsheet(accepted, config):
    name = "=HYPERLINK(A1)"
    accepted.dataset.write_rows([*accepted.dataset.rows(), {"image": name, "dx": "nv"}])
    accepted.dataset.put(f"{name}.jpg", accepted.dataset.original(f"{accepted.old[0]['image']}.jpg").read_bytes())
    ingest(config(**TIGHT))
    no_diagnosis(accepted)
    with pytest.raises(DataError):
        ingest(config(**TIGHT))
    named = {row["image"] for row in failed_rows(accepted.dataset)}
    assert f"'{name}" in named
    assert name not in named
