"""`skinlesion review list` on a data set that was trained on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.measured import known
from tests.small_backbone import WIDTH
from tests.stages.data_set import jpeg
from tests.trained import OTHER_SEED, candidate_of, config_of, options, skinlesion

from skinlesion.data.catalog import read_catalog
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.review_log import Reviews, note, undo
from skinlesion.data.manifest import held_out_rows, read_manifest, version
from skinlesion.data.review import making
from skinlesion.data.review.queue import read_queue, thumbnail, thumbnails
from skinlesion.data.review.suspects import COLUMNS
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.registry.history import Relabelled
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.evaluate import metrics_of
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.relabelled import note_relabelled
from skinlesion.stages.review import labelled, make_queue, review
from skinlesion.stages.sentences import sentence


def test_every_original_is_judged_once_and_training_does_not_see_it(copy_of_trained: Path, tmp_path: Path) -> None:
    dataset, models = copy_of_trained / "dataset", copy_of_trained / "models"
    before = {path for path in layout.features(dataset).rglob("part-*") if path.is_file()}
    note(dataset, "ann", "cannot tell", {read_manifest(dataset)["image"].iloc[0]: ""}, readers=2)
    places = ("--dataset", dataset, "--models", models, "--output", tmp_path / "list.csv")
    done = skinlesion("review", "list", *places, *options())
    assert done.returncode == 0, done.stderr
    assert "1 image waits for a second reader, and 0 for a third because two disagree" in " ".join(done.stdout.split())
    table = pd.read_csv(tmp_path / "list.csv")
    assert list(table) == list(COLUMNS)
    stored = {path for path in layout.features(dataset).rglob("part-*") if path.is_file()} - before
    assert {path.parent.name.endswith("-review") for path in stored} == {True}
    written = {path: path.stat().st_mtime_ns for path in stored}
    rows, pooled, _ = labelled(config_of(copy_of_trained))
    originals = read_manifest(dataset)
    assert sorted(rows["image"]) == sorted(originals.loc[originals["copy"] == 0, "image"])
    assert set(rows["split"]) == {"train", "held_out"}
    assert pooled.shape == (len(rows), WIDTH)
    assert {path: path.stat().st_mtime_ns for path in stored} == written  # nothing was computed again


def test_the_queue_has_what_a_person_needs_and_is_made_once(copy_of_trained: Path) -> None:
    config = config_of(copy_of_trained, review_queue=6)
    dataset = config.dataset
    catalog = read_catalog(dataset)
    twin, other = catalog["image"].iloc[0], "twin"
    shutil.copyfile(layout.images(dataset) / catalog["file"].iloc[0], layout.images(dataset) / "twin.jpg")
    dx = "nv" if catalog["dx"].iloc[0] != "nv" else "mel"
    with layout.diagnoses(dataset).open("a") as table:
        table.write(f"{other},{dx},L{',' * (layout.diagnoses(dataset).read_text().splitlines()[0].count(',') - 2)}\n")
    (layout.images(dataset) / "unlabelled.jpg").write_bytes(jpeg(5))
    for stage in ("ingest", "resize", "organize"):
        run_stage(stage, config)
    report = review(config)
    queue = known(read_queue(dataset))
    assert {one.image for one in queue.asked[:2]} == {twin, other}  # labels that contradict each other come first
    assert queue.asked[0].reason.startswith("It is set aside: the same picture as")
    assert {"mel", "nv", "bcc", "scc", "ak", "bkl", "df", "vasc"} <= {one.dx for one in queue.choices}
    rows = read_manifest(dataset).set_index("image")
    for one in queue.asked[2:]:
        if one.image == "unlabelled":
            assert "so nothing learns from it. Version 1, in service, gives malignant " in one.reason
            assert (one.version, set(one.probabilities), len(one.neighbours)) == (1, set(LABELS), making.NEIGHBOURS)
            assert {near.dx for near in one.neighbours}.isdisjoint({""})
            continue
        group = rows.at[one.image, "group"]
        assert sum(one.probabilities.values()) == pytest.approx(1, abs=0.01)
        assert {rows.at[near.image, "group"] for near in one.neighbours}.isdisjoint({group})
        assert {rows.at[mate.image, "group"] for mate in one.lesion} <= {group}
    assert re.search(r"^\d images in the queue .* with a diagnosis \d+ are doubted, 1 has none\.$", sentence(report))
    assert "unlabelled" in {one.image for one in queue.asked}
    assert report.done == report.seen == queue.labelled
    shown = {one.content for one in queue.asked}
    shown |= {picture.content for one in queue.asked for picture in (*one.lesion, *one.neighbours)}
    assert {path.stem for path in thumbnails(dataset).iterdir()} == shown
    assert thumbnail(dataset, queue.asked[0].content) is not None
    assert (review(config).done, review(config).skipped) == (0, queue.labelled)

    first = queue.asked[0]
    note(dataset, "ann", "cannot tell", {first.image: first.content})
    assert review(config).done
    again = known(read_queue(dataset))
    assert first.image not in {one.image for one in again.asked}
    assert review(config_of(copy_of_trained, review_queue=0)).done == 0

    # Of which another reader is asked stays in the queue, doubted or not, before others of its kind.
    there = {one.image for one in again.asked}
    sure = next(row for row in rows.reset_index().to_dict("records") if row["image"] not in there and row["copy"] == 0)
    for image, by in ((sure["image"], "ann"), ("unlabelled", "ann"), ("unlabelled", "ben")):
        note(dataset, by, "labelled", {image: ""}, dx="mel" if by == "ann" else "nv", readers=2)
    report = review(config)
    assert sentence(report).endswith("; 1 waits for a second reader, 1 for a third.")
    last = known(read_queue(dataset))
    assert {sure["image"], "unlabelled"} <= {one.image for one in last.asked}
    waits = next(one for one in last.asked if one.image == sure["image"])
    assert (waits.reason, waits.suggested, waits.dx) == (making.ASKED_AGAIN, "", sure["dx"])
    with_dx = [one.image for one in last.asked if one.dx and not one.reason.startswith("It is set aside")]
    assert with_dx[0] == sure["image"]


def test_a_held_out_image_that_was_relabelled_is_the_truth_for_candidate_and_champion(copy_of_trained: Path) -> None:
    config = config_of(copy_of_trained, seed=OTHER_SEED, max_relabelled_share=1)
    rows = held_out_rows(read_manifest(config.dataset))
    image = rows.loc[rows["label"] == "benign", "image"].iloc[0]
    run = candidate_of(copy_of_trained, 2).run
    before = metrics_of(config, run)
    note(config.dataset, "ann", "labelled", {image: ""}, dx="mel", before="nv")
    for stage in ("ingest", "resize", "organize"):
        run_stage(stage, config)
    rows = held_out_rows(read_manifest(config.dataset))
    note_relabelled(config, rows, rows)  # the same line is not added again by evaluate
    run_stage("evaluate", config)
    assert rows.set_index("image").at[image, "dx"] == "mel"
    after = metrics_of(config, run)
    assert after.held_out_version == version(rows) != before.held_out_version
    assert known(after.model_in_service) != known(before.model_in_service)  # measured by the new label too
    points = Registry.read(config.models).trend("malignant_auroc")
    assert points[-1].held_out_version == after.held_out_version  # the chart breaks here

    entries = [one for one in Registry.read(config.models).history if one.relabelled is not None]
    [entry] = entries
    assert entry.relabelled == Relabelled(images=1, by={"ann": 1}, held_out_version=after.held_out_version)
    assert (entry.what, entry.actor, entry.version) == ("measured by other labels", "ann", 2)
    assert "got another class (1): benign became malignant 1. Said by ann 1. Figures of before and" in entry.reason
    undo(config.dataset, "ann", 1)
    for stage in ("ingest", "resize", "organize"):
        run_stage(stage, config)
    rows = held_out_rows(read_manifest(config.dataset))
    for _ in range(2):  # as if the process had been killed before it measured
        note_relabelled(config, rows, rows)
    newest, *others = [one for one in Registry.read(config.models).history if one.relabelled is not None]
    assert others == entries
    assert newest.relabelled == Relabelled(images=1, by={"the tables": 1}, held_out_version=before.held_out_version)


def test_a_held_out_image_that_has_left_the_data_is_noted_once_and_a_renamed_one_is_not(copy_of_trained: Path) -> None:
    config = config_of(copy_of_trained, seed=OTHER_SEED)
    rows = held_out_rows(read_manifest(config.dataset))
    rows.loc[1, "image"] = "another name"
    note_relabelled(config, rows.iloc[1:], rows)  # still held out, and not measured on
    assert not [one for one in Registry.read(config.models).history if one.relabelled is not None]
    fewer, gone = rows.iloc[1:], rows.iloc[0]
    for _ in range(2):
        note_relabelled(config, fewer, fewer)
    [entry] = [one for one in Registry.read(config.models).history if one.relabelled is not None]
    assert entry.relabelled == Relabelled(images=0, left=1, by={}, held_out_version=version(fewer))
    assert (entry.what, entry.actor, entry.version) == ("measured without images that left", "the data", 2)
    assert f"held-out images have left the data (1): {gone['label']} 1. Figures of before and" in entry.reason


@pytest.mark.parametrize("rows", [3, 50])
def test_the_nearest_are_of_other_lesions_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(making, "_BLOCK", rows)
    draws = np.random.default_rng(0)
    pooled = draws.normal(size=(40, 6)).astype(np.float32)
    pooled[7] = pooled[3] * 1.01
    pooled[8] = pooled[3] * 1.02
    groups = np.arange(40)
    groups[8] = groups[3]
    near = making.nearest(pooled, groups, pooled[[3, 20]], groups[[3, 20]])
    assert near.shape == (2, making.NEIGHBOURS)
    assert near[0, 0] == 7
    assert 8 not in near[0]
    few = making.nearest(pooled[:3], np.array([0, 0, 1]), pooled[:1], np.array([0]))
    assert few.tolist() == [[2]]


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Run ingest first"):
        make_queue(config_of(tmp_path), 5, Reviews([], {}))
