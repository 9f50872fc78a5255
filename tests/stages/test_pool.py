"""Images without a diagnosis: they are prepared as others, and nothing trains on them, is measured on them or counts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.stages.data_set import DataSet, as_jpeg, jpeg, picture, run_data_side
from tests.trained import config_of

from skinlesion.data.catalog import POOL
from skinlesion.data.labels import review_log
from skinlesion.data.labels.classes import LABELS, UNKNOWN
from skinlesion.data.labels.of_dataset import labels_of_dataset
from skinlesion.data.manifest import read_manifest
from skinlesion.data.report.contents import DataReport
from skinlesion.data.report.labels_summary import labels_summary
from skinlesion.data.review import making
from skinlesion.data.review.queue import Asked
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.ingest import ingest
from skinlesion.stages.quiet.look import Look
from skinlesion.stages.review import make_queue
from skinlesion.stages.sentences import sentence
from skinlesion.stages.why import why

BLANK = ("", " ", "n/a", "not known", "-99")
"""Cells of the column dx that say nothing; `add_row` gives each a file."""
STATED = ("unknown", "UNK", "indeterminate", "other")


def with_pool(few: DataSet) -> DataSet:
    """Return the data set with an image for each of `BLANK`, a file that no table names, and stated unknowns."""
    for seed, dx in enumerate(BLANK):
        few.add(f"blank{seed}", jpeg(seed), dx=dx)
    for seed, dx in enumerate(STATED, start=20):
        few.add(f"stated{seed}", jpeg(seed), dx=dx)
    few.put("no_row.jpg", jpeg(40))
    return few


def test_what_has_no_diagnosis_is_prepared_and_in_no_class_count_side_or_view(few: DataSet) -> None:
    reports = run_data_side(with_pool(few).config())
    pool = {*(f"blank{seed}" for seed in range(len(BLANK))), "no_row"}
    assert set(few.images_of(POOL)) == pool
    assert {few.of_image(image, "label")[0] for image in pool} == {""}
    assert {few.of_image(f"stated{seed}", "label")[0] for seed in range(20, 24)} == {UNKNOWN}
    assert few.refusals() == {}
    manifest = read_manifest(few.folder)
    assert pool.isdisjoint(manifest["image"])
    assert not [path for path in layout.output(few.folder).rglob("*.jpg") if path.stem.split("__")[0] in pool]
    assert pool < {path.stem for path in layout.processed(few.folder).glob("*.jpg")}
    ingested = reports["ingest"]
    assert (ingested.details["accepted"], ingested.details["waiting"], ingested.refused) == (10, 6, 0)
    assert sentence(ingested).startswith("10 images accepted, 0 refused, 6 without a diagnosis: ")
    report = DataReport.read(layout.data_report(few.folder).with_suffix(".json"))
    assert (report.images, report.waiting, sum(row.images for row in report.classes)) == (10, 6, 10)
    assert {row.dx for row in report.diagnoses}.isdisjoint({""})
    assert "Without a diagnosis" in layout.data_report(few.folder).read_text()
    summary = labels_summary(labels_of_dataset(few.config(), {}), 0.2)
    assert (summary.rows, summary.waiting, summary.refused, sum(summary.classes.values())) == (15, 5, 0, 10)


def test_with_its_label_it_is_an_image_like_others_and_nothing_else_is_made_again(few: DataSet) -> None:
    run_data_side(with_pool(few).config(copies=1))
    before = read_manifest(few.folder)
    few.relabel({"blank0"}, dx="mel")
    content = few.of_image("no_row", "sha256")[0]
    review_log.note(few.folder, "ann", "labelled", {"no_row": content}, dx="bcc")
    reports = run_data_side(few.config(copies=1))
    assert (reports["ingest"].done, reports["resize"].done) == (0, 0)
    after = read_manifest(few.folder)
    new = after[after["image"].isin(["blank0", "no_row"])]
    assert {*new["image"]} == {"blank0", "no_row"}
    assert {*new["label"]} == {"malignant"}
    assert reports["augment"].done == int((new["copy"] > 0).sum())
    assert reports["organize"].done == len(new)
    others = after[~after["image"].isin(new["image"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, before)
    assert sentence(reports["ingest"]).startswith("12 images accepted, 0 refused, 4 without a diagnosis: ")


@pytest.mark.parametrize("side", [HELD_OUT, TRAIN])
@pytest.mark.parametrize("kinship", ["lesion", "copy", "same file"])
def test_when_its_label_comes_it_goes_to_the_side_of_its_lesion(processed: DataSet, side: str, kinship: str) -> None:
    of = processed.images_of(side)[0]
    shown = processed.original(f"{of}.jpg").read_bytes()
    lesion = processed.of_image(of, "lesion_id")[0]
    pixels = picture(50) if kinship == "lesion" else None
    if kinship == "copy":
        pixels = np.rot90(np.asarray(Image.open(processed.original(f"{of}.jpg"))))
    content = shown if pixels is None else as_jpeg(pixels)
    processed.add("new", content, dx="", **({"lesion_id": lesion} if kinship == "lesion" else {}))
    run_data_side(processed.config())
    assert processed.of_image("new", "split", "group") == [POOL, *processed.of_image(of, "group")]
    assert processed.of_image(of, "split", "refused") == [side, ""]
    # Whatever tied it to the lesion is gone when the label comes: its side was decided before.
    processed.relabel({"new"}, dx=processed.of_image(of, "dx")[0], lesion_id="of its own")
    ingest(processed.config(near_duplicates=False))
    assert processed.of_image("new", "split")[0] == side


def test_a_lesion_without_any_diagnosis_gets_no_side_and_moves_no_other(few: DataSet) -> None:
    ingest(few.config())
    sides, split = few.column("split"), layout.split(few.folder).read_bytes()
    for seed in range(12):
        few.add(f"new{seed}", jpeg(seed), dx="", lesion_id=f"L{seed // 3}")
    ingest(few.config())
    assert layout.split(few.folder).read_bytes() == split
    assert {image: side for image, side in few.column("split").items() if side != POOL} == sides


def test_a_picture_without_a_diagnosis_still_makes_two_lesions_one(processed: DataSet) -> None:
    train, held_out = processed.images_of(TRAIN)[0], processed.images_of(HELD_OUT)[0]
    lesion = processed.of_image(train, "lesion_id")[0]
    processed.add("bridge", processed.original(f"{held_out}.jpg").read_bytes(), dx="", lesion_id=lesion)
    run_data_side(processed.config())
    assert processed.of_image("bridge", "split")[0] == POOL
    assert processed.of_image(train, "split")[0] == HELD_OUT
    assert set(read_manifest(processed.folder).query("split == 'train'")["image"]).isdisjoint({train, held_out})


def test_a_table_in_which_every_cell_is_blank_stops_with_what_to_do(few: DataSet) -> None:
    few.relabel({row["image"] for row in few.rows()}, dx="")
    with pytest.raises(DataError, match=r"6 of them without a diagnosis\. Expected .* fill in the column of diagnoses"):
        ingest(few.config())
    assert not layout.catalog(few.folder).exists()


def test_diagnoses_that_vanish_from_the_table_stop_the_run(dataset: DataSet) -> None:
    ingest(dataset.config())
    dataset.relabel({row["image"] for row in dataset.rows()[:6]}, dx="")
    with pytest.raises(DataError, match=r"6 .*are gone, are refused or have no diagnosis any more"):
        ingest(dataset.config(min_images_checked=10))


def test_a_damaged_file_without_a_row_is_refused_for_its_damage(few: DataSet) -> None:
    few.put("broken.jpg", jpeg(1)[:200])
    ingest(few.config())
    assert list(few.refusals()) == ["broken"]
    assert "row" not in few.refusals()["broken"]


def test_why_says_that_it_waits(few: DataSet) -> None:
    first = few.rows()[0]
    few.add("new", jpeg(1), dx="", lesion_id=first["lesion_id"])
    few.add("alone", jpeg(2), dx="")
    run_data_side(few.config())
    steps = {step.stage: step for step in why(few.config(), "new")}
    states = {stage: step.state for stage, step in steps.items()}
    assert states == {"ingest": "done", "resize": "done", "review": "not yet"}
    assert "accepted with no diagnosis" in steps["ingest"].because
    assert "Without a diagnosis nothing trains on it, is measured on it or counts it." in steps["ingest"].because
    side = few.of_image(first["image"], "split")[0]
    assert ("is held out" if side == HELD_OUT else "is to train on") in steps["ingest"].because
    assert "gets its side of the split with its first diagnosis" in why(few.config(), "alone")[0].because


def pool_of(*rows: tuple[str, float]) -> pd.DataFrame:
    """Return a pool of rows (group, probability of malignant), named a, b, ..."""
    table = pd.DataFrame(rows, columns=["group", "malignant"]).assign(benign=0.0, unknown=0.0)
    return table.assign(
        image=[chr(97 + at) for at in range(len(rows))], sha256=[f"{at:064}" for at in range(len(rows))]
    )


def test_the_least_certain_come_first_one_of_a_lesion_and_new_lesions_before_known_ones() -> None:
    pool = pool_of(("L1", 0.1), ("L1", 0.48), ("L2", 0.9), ("L3", float("nan")), ("K", 0.5), ("L4", 0.55))
    assert making.worth_most(pool, pd.Series(["K"]))["image"].tolist() == ["b", "f", "c", "d", "e"]
    again = {"a", "e"}  # another reader is asked
    assert making.worth_most(pool, pd.Series(["K"]), again)["image"].tolist() == ["a", "e", "f", "c", "d"]
    assert making.worth_most(pool, pd.Series(["K"]), tried={"b", "f"})["image"].tolist() == ["a", "c", "d", "e", "f"]
    assert set(LABELS) <= set(pool)


def test_parts_of_the_queue_take_turns_whatever_their_lengths() -> None:
    def asked(name: str) -> Asked:
        return Asked.model_construct(image=name)

    queue = making.mixed([asked(f"d{at}") for at in range(6)], [asked(f"p{at}") for at in range(2)], [])
    assert [one.image for one in queue] == ["d0", "d1", "p0", "d2", "d3", "d4", "p1", "d5"]


def test_a_quarter_of_the_queue_is_for_images_without_a_diagnosis_and_another_model_asks_anew(
    copy_of_trained: Path,
) -> None:
    config = config_of(copy_of_trained, review_queue=8)
    for seed in range(6):
        (layout.images(config.dataset) / f"new{seed}.jpg").write_bytes(jpeg(seed))
    run_data_side(config)
    queue, doubted = make_queue(config, 8, review_log.read_reviews(config.dataset))
    new = [one for one in queue.asked if one.image.startswith("new")]
    assert queue.waiting == 6
    assert len(new) == max(2, 8 - len(doubted))
    assert len(queue.asked) == 8
    apart = [abs(one.probabilities["malignant"] - 0.5) for one in new]
    assert apart == sorted(apart)
    step = next(step for step in why(config, new[0].image) if step.stage == "review")
    assert step.state == "done"
    assert f"number {[one.image for one in queue.asked].index(new[0].image) + 1} of 8" in step.because

    look = Look("review", config)
    look.note(StageReport(stage="review", seen=1, done=1, skipped=0, seconds=0))
    assert Look("review", config).report() is not None
    layout.release_in_service(config.models).unlink()
    assert Look("review", config).report() is None
    queue, _ = make_queue(config, 8, review_log.read_reviews(config.dataset))
    unasked = next(one for one in queue.asked if one.image.startswith("new"))
    assert (unasked.probabilities, unasked.version) == ({}, None)
    assert unasked.reason == "It has no diagnosis, so nothing learns from it."
