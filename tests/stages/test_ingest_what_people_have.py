"""What ingest makes of labels as people have them: it stops with a remedy, or goes on and says how it read them."""

from __future__ import annotations

import json
import unicodedata

import pytest
from tests.stages.data_set import DataSet

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages.ingest import ingest
from skinlesion.stages.sentences import sentence


def own_words(data: DataSet, content: str) -> None:
    folder = layout.labels(data.folder)
    folder.mkdir(exist_ok=True)
    (folder / "vocabulary.csv").write_text(content)


def test_an_id_for_everything_stops_ingest_before_anything_is_written(dataset: DataSet) -> None:
    dataset.write_rows([row | {"lesion_id": "", "patient_id": "zz"} for row in dataset.rows()])
    with pytest.raises(
        DataError, match=r"Held-out part of each class: 0 of .* The patient 'zz' has .* max_held_out_gap=1"
    ):
        ingest(dataset.config(min_images_checked=10))
    assert not layout.catalog(dataset.folder).exists()
    assert not layout.split(dataset.folder).exists()
    ingest(dataset.config(min_images_checked=10, accept_data_changes=True))
    assert layout.catalog(dataset.folder).exists()


def test_a_word_for_a_missing_patient_splits_the_images_and_is_named(dataset: DataSet) -> None:
    dataset.write_rows([row | {"lesion_id": "-9", "patient_id": "#N/A"} for row in dataset.rows()])
    report = ingest(dataset.config(min_images_checked=10))
    assert dataset.catalog()["group"].nunique() == 18
    assert "diagnoses.csv: lesion_id '-9' in 18 rows counts as not known." in sentence(report)


def test_a_word_that_may_be_malignant_stops_ingest_until_the_user_says_what_it_is(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.relabel({image}, dx="Melanoma excluded")
    with pytest.raises(DataError, match=r"'melanoma excluded' \(1\).*They are: .*labels/vocabulary\.csv"):
        ingest(few.config())
    own_words(few, "word,dx\nmelanoma excluded,benign\n")
    report = ingest(few.config())
    assert few.of_image(image, "dx", "label") == ["benign", "benign"]
    assert "not known" not in sentence(report)


def test_words_that_are_not_known_and_blanks_are_counted_in_the_sentence(few: DataSet) -> None:
    one, two, three, *_ = (row["image"] for row in few.rows())
    few.relabel({one, two}, dx="zebra")
    few.relabel({three}, dx="n/a")
    said = sentence(ingest(few.config()))
    assert "1 word for diagnoses not known: 2 images with them count as unknown: zebra (2)" in said
    assert ", 1 without a diagnosis: " in said


def test_names_that_differ_little_find_their_files_and_the_report_says_so(few: DataSet) -> None:
    rows = few.rows()
    few.write_rows([row | {"image": row["image"].swapcase()} for row in rows])
    report = ingest(few.config())
    assert (report.refused, report.details["accepted"]) == (0, len(rows))
    assert set(few.column("file").values()) == {f"{row['image']}.jpg" for row in rows}
    written = json.loads(layout.data_report(few.folder).with_suffix(".json").read_text())
    assert f"{len(rows)} images have another name in the tables than in images/" in written["notes"][0]
    assert "How the labels were read" in layout.data_report(few.folder).read_text()


def test_a_file_from_a_mac_is_the_image_of_a_table_from_windows(few: DataSet) -> None:
    image = few.rows()[0]["image"]
    few.put(unicodedata.normalize("NFD", "läsion.jpg"), few.original(f"{image}.jpg").read_bytes())
    few.original(f"{image}.jpg").unlink()
    few.write_rows([row | {"image": row["image"].replace(image, "läsion")} for row in few.rows()])
    assert ingest(few.config()).refused == 0
    assert few.of_image("läsion", "file") == [unicodedata.normalize("NFD", "läsion.jpg")]


def test_where_no_name_fits_one_of_each_side_is_shown(few: DataSet) -> None:
    few.write_rows([row | {"image": f"picture_{number}"} for number, row in enumerate(few.rows())])
    with pytest.raises(DataError, match=r"6 rows have no file, such as 'picture_0'; 6 files have no row, such as 'I"):
        ingest(few.config())
