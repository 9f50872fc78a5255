"""Copies that are not equal files: how they are found, and what ingest and the stages after it make of them."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest
from tests.training_record import write_training_record

from skinlesion.data.images import near_duplicates
from skinlesion.data.images.near_duplicates import MOST_CANDIDATES, find_near_duplicates
from skinlesion.data.manifest import read_manifest, training_rows
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.network.built_model import BuiltModel
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.switch import promote
from skinlesion.stages.ingest import ingest
from skinlesion.training.warm_start import candidate_to_train, origin, write_trained_on


def as_jpeg(pixels, quality=90):
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded[1].tobytes()


def as_png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def without_edges(pixels, share=0.03):
    height, width = (round(side * share) for side in pixels.shape[:2])
    return pixels[height:-height, width:-width]


COPIES = {
    "quality 50": lambda pixels: (as_jpeg(pixels, 50), ".jpg"),
    "saved as PNG": lambda pixels: (as_png(pixels), ".png"),
    "quarter turn": lambda pixels: (as_jpeg(np.rot90(pixels)), ".jpg"),
    "mirrored": lambda pixels: (as_jpeg(pixels[:, ::-1]), ".jpg"),
    "mirrored and turned": lambda pixels: (as_jpeg(np.rot90(pixels[:, ::-1], 3)), ".jpg"),
    "edges gone": lambda pixels: (as_jpeg(without_edges(pixels)), ".jpg"),
    "half the size": lambda pixels: (as_jpeg(cv2.resize(pixels, None, fx=0.5, fy=0.5)), ".jpg"),
}


def pixels_of(dataset, image):
    return cv2.imread(str(dataset.original(f"{image}.jpg")))


def copy_of(dataset, image, name, kind="quarter turn", **values):
    """Add a copy of an image to the data set, of a lesion of its own unless `values` name one."""
    content, suffix = COPIES[kind](pixels_of(dataset, image))
    dx = next(row["dx"] for row in dataset.rows() if row["image"] == image)
    return dataset.add(name, content, suffix, **({"dx": dx} | values))


def sides(dataset):
    return dataset.catalog()["split"].to_dict()


def count(monkeypatch, name):
    """Count the calls of a function of the module."""
    calls = []
    function = getattr(near_duplicates, name)
    monkeypatch.setattr(near_duplicates, name, lambda *args, **kwargs: calls.append(args) or function(*args, **kwargs))
    return calls


# --- What is found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_joins_its_picture_and_has_its_side(few, config, picture, kind):
    few.add("original", as_jpeg(picture(7, (300, 225))), lesion_id="L1")
    copy_of(few, "original", "copy", kind, lesion_id="L2")
    report = ingest(config())
    catalog = few.catalog()
    assert catalog.loc["original", "group"] == catalog.loc["copy", "group"] == "lesion:L1"
    assert catalog.loc["original", "split"] == catalog.loc["copy", "split"] != ""
    assert report.details["duplicates"] == {
        "equal_files": 0,
        "near_duplicate_pairs": 1,
        "groups_joined": 1,
        "set_aside": 0,
        "left_training": 0,
    }


def test_pictures_of_different_lesions_are_not_joined(tmp_path, config):
    drawn = write_sample(tmp_path / "dataset", images=120, seed=5, size=(200, 150))
    report = ingest(config())
    assert report.details["duplicates"]["groups_joined"] == 0
    assert report.details["groups"] == drawn.lesions


def test_blank_pictures_are_joined_only_when_their_files_are_equal(few, config):
    for name, level in (("one", 100), ("two", 101), ("three", 101)):
        few.add(name, as_png(np.full((90, 120, 3), level, dtype=np.uint8)), ".png")
    ingest(config())
    groups = few.catalog()["group"]
    assert groups["one"] != groups["two"] == groups["three"]


def test_copies_of_copies_are_one_group(few, config, picture):
    few.add("c", as_jpeg(picture(7, (300, 225))))
    for name, kind in (("a", "edges gone"), ("b", "quality 50"), ("d", "mirrored")):
        copy_of(few, "c", name, kind)
    ingest(config())
    assert few.catalog().loc[["a", "b", "c", "d"], "group"].nunique() == 1


def test_a_crowd_of_copies_is_joined_although_each_is_compared_with_few(few, config, picture, monkeypatch):
    pixels = picture(7, (300, 225))
    for quality in range(50, 50 + MOST_CANDIDATES + 8):
        few.add(f"copy{quality}", as_jpeg(pixels, quality))
    looked_at = count(monkeypatch, "likeness")
    ingest(config())
    catalog = few.catalog()
    copies = MOST_CANDIDATES + 8
    assert catalog.loc[catalog.index.str.startswith("copy"), "group"].nunique() == 1
    assert len(looked_at) < copies * (copies - 1) / 2


def test_with_the_setting_off_copies_are_apart_and_equal_files_still_one(few, config, picture):
    few.add("original", as_jpeg(picture(7)))
    few.add("equal", few.original("original.jpg").read_bytes())
    copy_of(few, "original", "copy")
    report = ingest(config(near_duplicates=False))
    groups = few.catalog()["group"]
    assert groups["original"] == groups["equal"] != groups["copy"]
    assert report.details["duplicates"]["near_duplicate_pairs"] == 0
    assert not layout.tables(few.folder, "duplicates").exists()
    ingest(config())
    groups = few.catalog()["group"]
    assert groups["original"] == groups["equal"] == groups["copy"]


# --- Each pair once -----------------------------------------------------------------------------------------------


@pytest.fixture
def with_copy(few, config, picture):
    """Six images, another one and its copy, ingested."""
    few.add("original", as_jpeg(picture(7)))
    copy_of(few, "original", "copy")
    ingest(config())
    return few


def pairs_in(dataset):
    (path,) = layout.tables(dataset.folder, "duplicates").glob("*/pairs.parquet")
    return pd.read_parquet(path)


def test_a_second_run_compares_nothing_and_changes_no_file(with_copy, config, monkeypatch, snapshot):
    searched, looked_at = count(monkeypatch, "_candidates"), count(monkeypatch, "likeness")
    before = snapshot(with_copy.folder)
    assert ingest(config()).details["duplicates"]["near_duplicate_pairs"] == 1
    assert searched == looked_at == []
    assert snapshot(with_copy.folder) == before


def test_only_a_new_picture_is_compared(with_copy, config, monkeypatch, jpeg):
    before = pairs_in(with_copy)
    with_copy.add("new", jpeg(99))
    searched = count(monkeypatch, "_candidates")
    ingest(config())
    assert len(searched) == 1
    assert pairs_in(with_copy).equals(before)


def test_a_renamed_file_is_not_compared_again(with_copy, config, monkeypatch):
    path = with_copy.original("copy.jpg")
    path.rename(path.with_name("other.jpg"))
    with_copy.write_rows([row | {"image": row["image"].replace("copy", "other")} for row in with_copy.rows()])
    searched = count(monkeypatch, "_candidates")
    ingest(config())
    assert searched == []
    groups = with_copy.catalog()["group"]
    assert groups["original"] == groups["other"]


def test_copies_are_found_whichever_comes_first(few, config, picture):
    few.add("original", as_jpeg(picture(7)))
    copy_of(few, "original", "copy", "quality 50")
    ingest(config())
    whole = pairs_in(few)
    content = few.original("original.jpg").read_bytes()
    few.original("original.jpg").unlink()
    ingest(config())
    assert pairs_in(few).empty
    few.put("original.jpg", content)
    ingest(config())
    assert pairs_in(few).equals(whole)
    groups = few.catalog()["group"]
    assert groups["original"] == groups["copy"]


@pytest.mark.parametrize("name", ["pairs", "compared"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"garbage"), lambda path: path.unlink()])
def test_a_damaged_or_lost_table_is_made_again(with_copy, config, name, damage):
    (path,) = layout.tables(with_copy.folder, "duplicates").glob(f"*/{name}.parquet")
    before, catalog = path.read_bytes(), with_copy.catalog()
    damage(path)
    ingest(config())
    assert path.read_bytes() == before
    assert with_copy.catalog().equals(catalog)


def test_other_thresholds_compare_all_anew_and_leave_no_old_table(with_copy, config, monkeypatch):
    monkeypatch.setattr(near_duplicates, "LEAST_LIKENESS", 1.01)
    assert ingest(config()).details["duplicates"]["near_duplicate_pairs"] == 0
    assert len(list(layout.tables(with_copy.folder, "duplicates").iterdir())) == 1
    monkeypatch.undo()
    assert ingest(config()).details["duplicates"]["near_duplicate_pairs"] == 1


@pytest.mark.parametrize("nth", [0, 1, 2, 3, 4, 5])
def test_a_search_that_was_killed_is_completed_by_the_next(with_copy, config, monkeypatch, nth):
    whole, catalog = pairs_in(with_copy), with_copy.catalog()
    written = []
    write_table = near_duplicates.write_table

    def die(*args):
        if len(written) == nth:
            raise KeyboardInterrupt
        written.append(args)
        return write_table(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(near_duplicates, "_CONTENTS_BETWEEN_WRITES", 3)
        patch.setattr(near_duplicates, "write_table", die)
        ingest(config(force=True))
    ingest(config())
    assert pairs_in(with_copy).equals(whole)
    assert with_copy.catalog().equals(catalog)


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"another file")])
def test_a_file_that_changed_since_it_was_hashed_is_compared_by_the_next_run(few, config, picture, monkeypatch, change):
    few.add("original", as_jpeg(picture(7)))
    path = copy_of(few, "original", "copy")
    content = path.read_bytes()

    def disturbed(config, files):
        change(path)
        pairs = find_near_duplicates(config, files)
        path.write_bytes(content)
        return pairs

    with monkeypatch.context() as patch:
        patch.setattr("skinlesion.stages.ingest.find_near_duplicates", disturbed)
        assert ingest(config()).details["duplicates"]["near_duplicate_pairs"] == 0
    assert ingest(config()).details["duplicates"]["near_duplicate_pairs"] == 1


# --- Two diagnoses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["equal file", *COPIES])
def test_a_picture_with_two_diagnoses_is_set_aside_under_both_names_and_reported(few, config, picture, kind):
    few.add("one", as_jpeg(picture(7, (300, 225))), dx="nv")
    if kind == "equal file":
        few.add("two", few.original("one.jpg").read_bytes(), dx="mel")
    else:
        copy_of(few, "one", "two", kind, dx="mel")
    report = ingest(config())
    assert few.refusals() == {
        "one": "the same picture as two with another diagnosis: nv here, mel there; set aside until they agree",
        "two": "the same picture as one with another diagnosis: mel here, nv there; set aside until they agree",
    }
    assert (report.refused, report.details["accepted"], report.details["duplicates"]["set_aside"]) == (2, 6, 2)
    assert few.catalog().loc[["one", "two"], ["group", "split"]].eq("").all(axis=None)


@pytest.mark.parametrize("split", [TRAIN, HELD_OUT])
def test_a_mended_conflict_returns_to_its_old_side(processed, config, split):
    before = sides(processed)
    image = processed.images_of(split)[0]
    dx = next(row["dx"] for row in processed.rows() if row["image"] == image)
    copy_of(processed, image, "copy", dx="df" if dx != "df" else "nv")
    ingest(config())
    assert processed.refusals().keys() == {image, "copy"}
    assert {name: side for name, side in sides(processed).items() if side} == {
        name: side for name, side in before.items() if name != image
    }
    processed.relabel({"copy"}, dx=dx)
    ingest(config())
    assert processed.refusals() == {}
    assert sides(processed) == before | {"copy": split}


def test_a_picture_that_is_set_aside_still_makes_its_lesions_one(processed, config, picture):
    image = processed.images_of(HELD_OUT)[0]
    processed.relabel({image}, dx="nv", lesion_id="old")
    copy_of(processed, image, "copy", dx="mel", lesion_id="new")
    processed.add("view", as_jpeg(picture(50)), dx="mel", lesion_id="new")
    ingest(config())
    assert processed.refusals().keys() == {image, "copy"}
    assert sides(processed)["view"] == HELD_OUT


def test_a_data_set_of_nothing_but_conflicts_is_one_clear_error(few, config, picture):
    few.write_rows([])
    few.add("one", as_jpeg(picture(7)), dx="nv")
    copy_of(few, "one", "two", dx="mel")
    for path in layout.images(few.folder).glob("ISIC_*"):
        path.unlink()
    with pytest.raises(DataError, match=r"all refused .*the same picture as"):
        ingest(config())


# --- Groups that turn out to be one -------------------------------------------------------------------------------


def bridge(dataset):
    """Add a copy of a held-out picture to a training lesion; give the images that must leave training."""
    catalog = dataset.catalog()
    held_out, trained = dataset.images_of(HELD_OUT)[0], dataset.images_of(TRAIN)[0]
    lesion = catalog.loc[trained, "lesion_id"]
    dataset.relabel({held_out}, dx=str(catalog.loc[trained, "dx"]))
    copy_of(dataset, held_out, "bridge", lesion_id=lesion)
    return set(catalog.index[catalog["lesion_id"] == lesion])


def test_the_training_copies_of_a_joined_group_leave_training_everywhere(processed, config, run_data_side):
    before = sides(processed)
    leave = bridge(processed)
    reports = run_data_side(config())
    assert sides(processed) == before | dict.fromkeys({*leave, "bridge"}, HELD_OUT)
    assert reports["ingest"].details["duplicates"]["left_training"] == len(leave)
    assert ingest(config()).details["duplicates"]["left_training"] == 0
    manifest = read_manifest(processed.folder)
    theirs = manifest[manifest["image"].isin(leave)]
    assert (theirs["split"] == HELD_OUT).all()
    assert (theirs["copy"] == 0).all()
    for folder in (layout.augmented(processed.folder), layout.output(processed.folder)):
        copies = {path.name.partition("__aug")[0] for path in folder.rglob("*__aug*.jpg")}
        assert copies == set(processed.images_of(TRAIN))


def test_what_left_training_does_not_come_back_when_the_bridge_is_gone(processed, config):
    leave = bridge(processed)
    ingest(config())
    processed.original("bridge.jpg").unlink()
    processed.remove_row("bridge")
    ingest(config())
    assert {sides(processed)[image] for image in leave} == {HELD_OUT}


@pytest.mark.parametrize("is_joined", [False, True])
def test_training_does_not_go_on_from_a_model_that_learnt_what_left(processed, config, run_data_side, jpeg, is_joined):
    settings, built = (
        config(warm_start=True, warm_start_share=1.0),
        BuiltModel(key="key", weights_key="weights", sha256="sha256"),
    )
    champion = Candidate(layout.candidate(settings.models, "champion"))
    champion.folder.mkdir(parents=True)
    for path in champion.models:
        path.write_bytes(path.name.encode())
    rows = training_rows(read_manifest(processed.folder))
    write_trained_on(champion, rows, np.zeros(len(rows), dtype=np.bool_))
    write_training_record(champion, origin=origin(settings, built), training_version="before")
    promote(settings.models, register(settings.models, champion).number, actor="somebody", reason="a test")
    if is_joined:
        bridge(processed)
    processed.add("new", jpeg(99), lesion_id=processed.catalog().loc[processed.images_of(TRAIN)[-1], "lesion_id"])
    run_data_side(settings)
    _, warm = candidate_to_train(settings, training_rows(read_manifest(processed.folder)), built)
    assert (warm is None) is is_joined
