"""What lies in images/ of people's data sets: files of every suffix, DICOM, copies, colours of other spaces."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.data.images.dicoms import SECONDARY_CAPTURE, dicom_of, region
from tests.data.images.pictures import encoded
from tests.data.images.profiles import ADOBE_RGB, SRGB
from tests.stages.data_set import DataSet, digests, jpeg, picture

from skinlesion.data.catalog import POOL
from skinlesion.foundation import layout
from skinlesion.stages.ingest import ingest
from skinlesion.stages.resize import resize
from skinlesion.stages.sentences import sentence


def image(seed: int) -> Image.Image:
    return Image.fromarray(picture(seed))


def png(seed: int, **options: object) -> bytes:
    return encoded(image(seed), "PNG", **options)


# --- By content, not by suffix --------------------------------------------------------------------------------------


FILES = {
    "one.jfif": jpeg(1), "two.JPE": jpeg(2), "three": jpeg(3), "four.dat": png(4), "five.txt": jpeg(5), "six.png": jpeg(6),
    "seven.avif": encoded(image(7), "AVIF"), "eight.jp2": encoded(image(8), "JPEG2000"), "nine.dcm": dicom_of(picture(9)),
    "1.2.840.10008.77": dicom_of(picture(10)), "1.2.840.10008.78": dicom_of(picture(11)), "ten.tif": encoded(image(12), "TIFF"),
    "eleven.gif": encoded(image(13).convert("P"), "GIF"), "twelve.webp": encoded(image(14), "WEBP"), "last.bmp": encoded(image(15), "BMP"),
}  # fmt: skip


def test_images_are_known_by_their_content_whatever_their_suffix(few: DataSet) -> None:
    for file, content in FILES.items():
        few.put(file, content)
        few.add_row(file if file.startswith("1.2") else Path(file).stem)
    report = ingest(few.config())
    assert few.refusals() == {}
    assert report.details["accepted"] == 6 + len(FILES)
    assert resize(few.config()).refused == 0
    assert few.of_image("1.2.840.10008.77", "file", "format") == ["1.2.840.10008.77", "DICOM"]


def test_a_table_may_name_a_file_with_a_suffix_that_is_no_images(few: DataSet) -> None:
    few.put("four.dat", png(4))
    few.add_row("four.dat")
    ingest(few.config())
    assert few.of_image("four.dat", "file", "refused") == ["four.dat", ""]


UNREAD = {
    "drawing.svg": (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing (SVG)"),
    "scan.pdf": (b"%PDF-1.7\n" + bytes(99), "a PDF document"),
    "edited.psd": (b"8BPS\0\1" + bytes(99), "a Photoshop file"),
    "clip.mp4": (b"\0\0\0\x18ftypmp42" + bytes(99), "a video"),
    "all.zip": (b"PK\3\4" + bytes(99), "an archive"),
    "photo.nef": (encoded(image(1), "TIFF"), "a camera's raw file"),
    "raw.tif": (encoded(image(1), "TIFF", tiffinfo={254: 1}), "a camera's raw file"),
    "next.jxl": (b"\xff\x0a" + bytes(99), "a JPEG XL file"),
}


def test_what_shows_something_and_is_not_read_is_refused_with_what_to_do(few: DataSet) -> None:
    for file, (content, _) in UNREAD.items():
        few.put(file, content)
    report = ingest(few.config(max_refused_share=1))
    reasons = {few.of_image(name, "file")[0]: reason for name, reason in few.refusals().items()}
    for file, (_, what) in UNREAD.items():
        assert reasons[file].startswith(what)
        assert ": export" in reasons[file] or ": take the images out" in reasons[file]
    assert report.details["accepted"] == 6


def test_other_files_are_counted_and_named_and_hidden_folders_not_entered(few: DataSet) -> None:
    for file in ("notes.txt", "sub/checksums.md5", ".hidden.jpg", ".cache/deep.jpg"):
        few.put(file, jpeg(1) if file.endswith(".jpg") else b"hello")
    report = ingest(few.config())
    assert (report.seen, report.details["other_files"]) == (6, 3)
    said = "3 files in images/ that are no images are not read: notes.txt, sub/checksums.md5, .hidden.jpg."
    assert said in sentence(report)


# --- DICOM ----------------------------------------------------------------------------------------------------------


def dicom(seed: int, **elements: object) -> bytes:
    return dicom_of(picture(seed), kind=SECONDARY_CAPTURE, **elements)  # type: ignore[arg-type]


def test_a_dicom_file_gives_its_subject_where_the_tables_do_not(few: DataSet) -> None:
    few.put(
        "a.dcm", dicom(1, PatientID="P1", PatientAge="045Y", PatientSex="M", BodyPartExamined="CHEST", TrackingID="1")
    )
    few.put(
        "b.dcm",
        dicom(2, PatientID="P1", PatientAge="007Y", AnatomicRegionSequence=region("Skin of thigh"), TrackingID="1"),
    )
    few.put("c.dcm", dicom(3, PatientID="P2", TrackingID="1"))
    few.write_rows([*few.rows(), *({"image": name, "dx": "nv"} for name in "ac"), {"image": "b", "dx": "nv", "age": "50", "sex": "female"}])  # fmt: skip
    ingest(few.config())
    found = few.catalog()
    assert few.of_image("a", "age", "sex", "site") == ["45.0", "male", "anterior torso"]
    assert few.of_image("b", "age", "sex", "site") == ["50.0", "female", "lower extremity"]
    for column in ("patient_id", "lesion_id", "group"):
        assert found[column]["a"] == found[column]["b"] != found[column]["c"]


def test_no_name_and_no_id_of_a_patient_is_written_anywhere(few: DataSet) -> None:
    few.put(
        "a.dcm", dicom(1, PatientID="MRN-4711081500329764-DOE", TrackingID="Doe's mole", BodyPartExamined="DOE JANE")
    )
    few.add_row("a")
    ingest(few.config())
    resize(few.config())
    assert few.of_image("a", "site") == [""]
    written = [
        path for path in few.folder.rglob("*") if path.is_file() and "images/" not in str(path.relative_to(few.folder))
    ]
    assert written
    for path in written:
        content = path.read_bytes() if path.suffix != ".parquet" else pd.read_parquet(path).to_csv().encode()
        assert not any(
            word in content for word in (b"4711081500329764", b"Doe", b"DOE", b"19501231", b"Example Street")
        ), path


def test_the_id_of_a_patient_whom_a_table_names_is_that_of_the_table(few: DataSet) -> None:
    few.put("a.dcm", dicom(1, PatientID="P1"))
    few.add_row("a")
    few.add("b", jpeg(2), patient_id="P1")
    ingest(few.config())
    assert few.of_image("a", "patient_id") == few.of_image("b", "patient_id") == ["P1"]


def test_patients_keep_their_names_until_the_key_is_lost(few: DataSet) -> None:
    few.put("a.dcm", dicom(1, PatientID="P1"))
    few.add_row("a")
    ingest(few.config())
    first = few.of_image("a", "patient_id")
    assert ingest(few.config()).done == 0
    assert few.of_image("a", "patient_id") == first
    key = layout.subject_key(few.folder)
    assert key.stat().st_mode & 0o077 == 0
    key.unlink()
    assert ingest(few.config()).done == 1, "the file is read again"
    assert few.of_image("a", "patient_id") != first


# --- Copies ---------------------------------------------------------------------------------------------------------


def test_equal_files_of_one_name_are_one_image(few: DataSet) -> None:
    few.add("twice", jpeg(1))
    for folder in ("part_1", "part_2", "backup/old"):
        few.put(f"{folder}/twice.jpg", jpeg(1))
    report = ingest(few.config())
    assert few.refusals() == {}
    assert (report.details["accepted"], report.details["equal_copies"]) == (7, 3)
    assert "3 files of the same content" in sentence(report)


def test_a_copy_without_a_row_is_no_image_of_its_own(few: DataSet) -> None:
    few.add("first", jpeg(1))
    few.put("backup/copy of first.jpg", jpeg(1))
    few.put("backup/another.jpg", jpeg(2))
    report = ingest(few.config())
    assert (few.refusals(), few.images_of(POOL)) == ({}, ["another"])
    assert report.details["equal_copies"] == 1


def test_one_different_file_among_equal_ones_is_a_conflict(few: DataSet) -> None:
    few.add("twice", jpeg(1))
    few.put("backup/twice.jpg", jpeg(1))
    few.put("other/twice.png", png(2))
    ingest(few.config())
    assert "of this name, of different content: backup/twice.jpg, other/twice.png" in few.refusals()["twice"]
    few.original("other/twice.png").unlink()
    ingest(few.config())
    assert few.refusals() == {}


def test_equal_files_of_two_names_with_rows_stay_two_images(few: DataSet) -> None:
    few.add("first", jpeg(1))
    few.add("second", jpeg(1))
    ingest(few.config())
    assert few.refusals() == {}
    assert few.of_image("first", "group") == few.of_image("second", "group")


def test_the_pixels_of_another_colour_space_are_converted_and_said(few: DataSet) -> None:
    few.add("plain", png(1), ".png")
    few.add("wide", png(1, icc_profile=ADOBE_RGB), ".png")
    few.add("srgb", png(1, icc_profile=SRGB), ".png")
    few.add("broken", png(1, icc_profile=b"no profile"), ".png")
    report = ingest(few.config(near_duplicates=False))
    resize(few.config())
    made = {name: np.asarray(Image.open(layout.processed(few.folder) / f"{name}.jpg")).astype(int) for name in ("plain", "wide", "srgb", "broken")}  # fmt: skip
    assert np.abs(made["wide"] - made["plain"]).mean() > 2
    assert (made["srgb"] == made["plain"]).all()
    assert (made["broken"] == made["plain"]).all()
    assert few.of_image("wide", "format") == ["PNG, converted from Adobe RGB (1998)"]
    said = sentence(report)
    assert "converted from Adobe RGB (1998) (1)" in said
    assert "colour profile ignored" in said


def test_another_conversion_makes_only_what_it_changes_anew(few: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    few.add("wide", png(1, icc_profile=ADOBE_RGB), ".png")
    ingest(few.config())
    assert resize(few.config()).done == 7
    monkeypatch.setattr("skinlesion.stages.resize.CONVERSION_VERSION", 2)
    before = digests(layout.processed(few.folder))
    assert resize(few.config()).done == 1
    assert digests(layout.processed(few.folder)) == before


def test_a_linked_folder_beside_the_images_is_searched(few: DataSet) -> None:
    """It was refused as belonging to the data set."""
    (few.folder / "part_2").mkdir()
    (few.folder / "part_2" / "x.jpg").write_bytes(jpeg(5))
    few.add_row("x")
    few.original("linked").symlink_to("../part_2")
    ingest(few.config())
    assert few.of_image("x", "file", "refused") == ["linked/x.jpg", ""]


def test_rows_whose_files_may_lie_in_a_closed_folder_say_so(
    few: DataSet, closed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few.add("x", jpeg(5)).rename(closed / "x.png")
    with caplog.at_level(logging.WARNING):
        report = ingest(few.config())
    assert few.refusals()["x"] == "no file of this name in images/, of which closed cannot be listed"
    assert "closed cannot be listed" in sentence(report)
    assert "closed cannot be listed" in layout.data_report(few.folder).read_text()
