"""What people said who looked at images reaches the catalog, before what other tables say, and the report says so."""

from __future__ import annotations

import json

import pytest
from tests.stages.data_set import DataSet, as_jpeg, jpeg, picture

from skinlesion.data.catalog import POOL
from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import ReviewEntry, What
from skinlesion.data.manifest import read_manifest
from skinlesion.data.split import HELD_OUT, TRAIN
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.collect import collect
from skinlesion.stages.ingest import ingest
from skinlesion.stages.organize import organize
from skinlesion.stages.why import why


def say(few: DataSet, image: str, dx: str, what: What = "labelled", by: str = "ann", readers: int = 1) -> ReviewEntry:
    content = few.of_image(image, "sha256")[0] if layout.catalog(few.folder).exists() else ""
    return review_log.note(few.folder, by, what, {image: content}, dx=dx, readers=readers)


def call_wrong(data: DataSet, *images: str, by: str = "ann", readers: int = 1) -> ReviewEntry:
    """Say that the label of the first image is wrong, of the others too."""
    contents = {image: data.of_image(image, "sha256")[0] for image in images}
    before = data.of_image(images[0], "dx")[0]
    return review_log.note(data.folder, by, "wrong", contents, before=before, readers=readers)


def notes_of(data: DataSet) -> list[str]:
    notes: list[str] = json.loads(layout.data_report(data.folder).with_suffix(".json").read_text())["notes"]
    return notes


def test_what_a_person_said_beats_the_tables_until_it_is_undone(few: DataSet) -> None:
    one, two, *_ = (row["image"] for row in few.rows())
    few.relabel({one, two}, dx="nv")
    ingest(few.config())
    entry = say(few, one, "mel")
    say(few, two, "nv", "confirmed", by="ben")
    report = ingest(few.config())
    assert few.of_image(one, "dx", "label") == ["mel", "malignant"]
    assert few.of_image(two, "dx", "label") == ["nv", "benign"]
    assert report.details["conflicts"] == {}
    [note] = notes_of(few)
    assert note.endswith("because people looked at it (review.csv): nv became mel 1. Said by ann 1.")
    review_log.undo(few.folder, "ann", entry.number)
    ingest(few.config())
    assert few.of_image(one, "dx", "label") == ["nv", "benign"]


def test_the_setting_may_let_the_tables_ask_or_ignore_what_was_said(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    say(few, image, "mel")
    ingest(few.config(review_labels="ask"))
    assert "different diagnoses: diagnoses.csv row 2 'nv', review.csv row 2 'mel'" in few.refusals()[image]
    ingest(few.config(review_labels="ignore"))
    assert few.of_image(image, "dx", "refused") == ["nv", ""]
    ingest(few.config())
    assert few.of_image(image, "dx", "refused") == ["mel", ""]


def test_a_person_settles_what_the_tables_leave_open_and_gives_a_file_without_a_row_its_label(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    (few.folder / "labels").mkdir()
    (few.folder / "labels" / "other.csv").write_text(f"image,dx\n{image},mel\n")
    few.put("new.jpg", jpeg(77))
    ingest(few.config())
    assert set(few.refusals()) == {image}
    say(few, image, "bcc")
    say(few, "new", "df")
    review_log.note(few.folder, "ann", "labelled", {"gone": ""}, dx="df")
    collect(few.config())
    ingest(few.config())
    assert few.refusals() == {}
    assert [few.of_image(name, "dx")[0] for name in (image, "new")] == ["bcc", "df"]


def test_of_two_equal_pictures_the_one_that_was_looked_at_stays(few: DataSet) -> None:
    content = as_jpeg(picture(5))
    few.add("one", content, dx="nv")
    few.add("other", content, dx="nv")
    ingest(few.config())
    say(few, "one", "mel")
    ingest(few.config())
    assert few.of_image("one", "dx", "refused") == ["mel", ""]
    assert "which a person looked at and called mel; the tables say nv here" in few.refusals()["other"]
    say(few, "other", "nv", by="ben")
    ingest(few.config())
    assert set(few.refusals()) == {"one", "other"}  # people disagree
    say(few, "other", "mel", by="ben")
    ingest(few.config())
    assert few.refusals() == {}


@pytest.mark.parametrize("answer", ["mel", "that it is not nv"])
def test_another_file_under_the_name_is_not_given_what_was_said_of_the_first(few: DataSet, answer: str) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    ingest(few.config())
    if answer == "mel":
        say(few, image, answer)
    else:
        call_wrong(few, image)
    few.put(f"{image}.jpg", jpeg(99))
    ingest(few.config())
    assert f"its file is another than the one that ann looked at and said {answer} (entry 1" in few.refusals()[image]
    say(few, image, "nv")
    ingest(few.config())
    assert few.of_image(image, "dx", "refused") == ["nv", ""]


@pytest.mark.parametrize("review_labels", ["win", "ask"])
def test_a_data_set_of_which_people_said_everything_needs_no_other_table(few: DataSet, review_labels: str) -> None:
    for row in few.rows():
        say(few, row["image"], "nv")
    few.labels.unlink()
    report = ingest(few.config(review_labels=review_labels))
    assert (report.seen, report.refused) == (6, 0)


def test_of_two_readers_the_tables_label_stays_until_they_agree_or_a_third_decides(few: DataSet) -> None:
    one, two, *_ = (row["image"] for row in few.rows())
    few.relabel({one, two}, dx="nv")
    ingest(few.config())
    say(few, one, "mel", by="ann", readers=2)
    say(few, two, "bcc", by="ann", readers=2)
    say(few, two, "mel", by="ben", readers=2)
    ingest(few.config())
    assert [few.of_image(image, "dx")[0] for image in (one, two)] == ["nv", "nv"]
    assert notes_of(few)[0].startswith("1 image waits for a second reader, and 1 for a third because two disagree")
    ingest(few.config(review_readers=1))  # switched off: that alone makes no label of what one of two said
    assert [few.of_image(image, "dx")[0] for image in (one, two)] == ["nv", "nv"]
    say(few, one, "mel", by="ben", readers=2)
    say(few, two, "mel", by="cleo", readers=2)
    ingest(few.config())
    assert [few.of_image(image, "dx")[0] for image in (one, two)] == ["mel", "mel"]
    [note] = notes_of(few)
    assert note.endswith("nv became mel 2. Said by ann and ben 1, ben and cleo 1.")


@pytest.mark.parametrize("side", [HELD_OUT, TRAIN])
def test_what_is_called_wrong_waits_without_a_diagnosis_and_keeps_its_side(processed: DataSet, side: str) -> None:
    image = processed.images_of(side)[0]
    call_wrong(processed, image)
    report = ingest(processed.config(max_lost_share=1))
    organize(processed.config())
    assert processed.of_image(image, "dx", "label", "split", "refused") == ["", "", POOL, ""]
    assert image not in set(read_manifest(processed.folder)["image"])
    assert report.details["waiting"] == 1
    assert (
        "for another diagnosis than the tables give, because people who looked say that it is wrong"
        in notes_of(processed)[0]
    )
    # Whatever tied it to its lesion is gone when the diagnosis comes: its side was decided before.
    processed.relabel({image}, lesion_id="of its own")
    say(processed, image, "bcc", by="ben")
    ingest(processed.config(near_duplicates=False, max_relabelled_share=1))
    assert processed.of_image(image, "dx", "split") == ["bcc", side]


def test_why_says_which_side_an_image_without_others_of_its_lesion_keeps(few: DataSet) -> None:
    few.add("alone", jpeg(60), dx="nv")
    ingest(few.config())
    [side] = few.of_image("alone", "split")
    call_wrong(few, "alone")
    ingest(few.config())
    said = why(few.config(), "alone")[0].because
    assert ("is held out" if side == HELD_OUT else "is to train on") in said
    assert "first diagnosis" not in said


def test_the_lesions_other_pictures_lose_it_where_the_reader_says_so(few: DataSet) -> None:
    for seed, image in enumerate(("one", "two", "three"), start=60):
        few.add(image, jpeg(seed), dx="nv", lesion_id="L")
    few.relabel({"three"}, dx="mel")
    ingest(few.config())
    call_wrong(few, "one")
    ingest(few.config())
    assert [few.of_image(image, "split")[0] == POOL for image in ("one", "two", "three")] == [True, False, False]
    assert few.of_image("one", "group") == few.of_image("two", "group")
    review_log.undo(few.folder, "ann", 1)
    ingest(few.config())
    call_wrong(few, "one", "two", "three")
    ingest(few.config())
    assert [few.of_image(image, "dx")[0] for image in ("one", "two", "three")] == ["", "", "mel"]  # it is not nv


def test_another_diagnosis_of_a_table_counts_from_then_on_and_the_wrong_one_never(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    ingest(few.config())
    call_wrong(few, image)
    for answers in ({"dx": "nv"}, {"dx": "mel"}, {"dx": "nv"}):
        few.relabel({image}, **answers)
        ingest(few.config(review_labels="ask"))
        assert few.of_image(image, "dx", "refused") == ["" if answers["dx"] == "nv" else "mel", ""]
    ingest(few.config(review_labels="ignore"))
    assert few.of_image(image, "dx") == ["nv"]


def test_a_copy_of_the_picture_loses_the_wrong_label_too_unless_somebody_looked_at_it(few: DataSet) -> None:
    content = as_jpeg(picture(5))
    for image in ("one", "other", "third"):
        few.add(image, content, dx="nv")
    few.put("no_row.jpg", jpeg(78))  # of which nothing is wrong
    ingest(few.config())
    say(few, "third", "nv", "confirmed", by="ben")
    call_wrong(few, "one")
    ingest(few.config())
    assert [few.of_image(image, "dx")[0] for image in ("one", "other", "third")] == ["", "", "nv"]
    assert notes_of(few)[0].startswith("2 images wait for another diagnosis than the tables give")


def test_too_many_wrong_labels_stop_the_run_like_labels_that_vanish(dataset: DataSet) -> None:
    ingest(dataset.config())
    for row in dataset.rows()[:6]:
        call_wrong(dataset, row["image"])
    with pytest.raises(DataError, match=r"6 .*are gone, are refused or have no diagnosis any more"):
        ingest(dataset.config(min_images_checked=10))
