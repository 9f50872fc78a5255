"""What people said who looked at images reaches the catalog, before what other tables say, and the report says so."""

from __future__ import annotations

import json

import pytest
from tests.stages.data_set import DataSet, as_jpeg, jpeg, picture

from skinlesion.data.labels import review_log
from skinlesion.data.manifest import held_out_rows, read_manifest, version
from skinlesion.data.split import HELD_OUT
from skinlesion.foundation import layout
from skinlesion.stages.collect import collect
from skinlesion.stages.ingest import ingest
from skinlesion.stages.organize import organize


def say(
    few: DataSet, image: str, dx: str, what: review_log.What = "labelled", by: str = "ann"
) -> review_log.ReviewEntry:
    content = few.of_image(image, "sha256")[0] if layout.catalog(few.folder).exists() else ""
    return review_log.note(few.folder, by, what, {image: content}, dx=dx)


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
    notes = json.loads(layout.data_report(few.folder).with_suffix(".json").read_text())["notes"]
    assert notes == [
        "1 images have another diagnosis than the tables give them, because people looked at them (review.csv): nv became mel 1. "
        "Said by ann 1."
    ]
    review_log.undo(few.folder, "ann", entry.number)
    ingest(few.config())
    assert few.of_image(one, "dx", "label") == ["nv", "benign"]


def test_the_setting_may_let_the_tables_ask_or_ignore_what_was_said(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="nv")
    say(few, image, "mel")
    ingest(few.config(review_labels="ask"))
    assert few.refusals() == {
        image: "the tables give it different diagnoses: diagnoses.csv row 2 'nv', review.csv row 2 'mel'"
    }
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
    assert few.refusals() == {
        "other": "the same picture as one, which a person looked at and called mel; the tables say nv here"
    }
    say(few, "other", "nv", by="ben")
    ingest(few.config())
    assert set(few.refusals()) == {"one", "other"}  # people disagree
    say(few, "other", "mel", by="ben")
    ingest(few.config())
    assert few.refusals() == {}


def test_another_file_under_the_name_is_not_given_what_was_said_of_the_first(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    ingest(few.config())
    say(few, image, "mel")
    few.put(f"{image}.jpg", jpeg(99))
    ingest(few.config())
    assert few.of_image(image, "refused")[0].startswith(
        "its file is another than the one that ann looked at and said mel (entry 1"
    )
    say(few, image, "nv")
    ingest(few.config())
    assert few.of_image(image, "dx", "refused") == ["nv", ""]


def test_a_relabelled_held_out_image_moves_the_yardstick(processed: DataSet) -> None:
    before = version(held_out_rows(read_manifest(processed.folder)))
    image = processed.images_of(HELD_OUT)[0]
    other = "nv" if processed.of_image(image, "dx")[0] == "mel" else "mel"
    say(processed, image, other)
    ingest(processed.config(max_relabelled_share=1))
    organize(processed.config())
    rows = held_out_rows(read_manifest(processed.folder))
    assert rows.set_index("image").at[image, "dx"] == other
    assert version(rows) != before


@pytest.mark.parametrize("review_labels", ["win", "ask"])
def test_a_data_set_of_which_people_said_everything_needs_no_other_table(few: DataSet, review_labels: str) -> None:
    for row in few.rows():
        say(few, row["image"], "nv")
    few.labels.unlink()
    report = ingest(few.config(review_labels=review_labels))
    assert (report.seen, report.refused) == (6, 0)
