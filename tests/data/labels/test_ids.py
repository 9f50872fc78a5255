"""Which ids name a lesion or a patient, and which stand for a value that is missing or is numbered within something else."""

from __future__ import annotations

import pytest
from pandas._libs.parsers import STR_NA_VALUES
from tests.data.labels.tables import Join, values

from skinlesion.foundation.errors import DataError

FIELD = (
    "-1", "-9", "-99", "-999", "-1.0", "0", "0.0", "000", "00000000-0000-0000-0000-000000000000", "?", "??", ".", "..", "-",
    "--", "_", "*", "n.a.", "N.A", "n/a", "#N/A", "#n/a", "<NA>", "[NA]", "(none)", "<none>", "None", "NULL", "nil", "NaT",
    "missing", "Missing Data", "unspecified", "not specified", "Not-Available", "NOT_AVAILABLE", "not provided", "unknown",
    "Unknown", "unk", "UNKNOWN ", "not recorded", "not known", "No data", "undefined", "undetermined", "withheld",
    "anonymous", "TBD", "xxx", "keine Angabe", "unbekannt", "nan_nan", "IL_nan", "PAT_None", "lesion_-1", "HAM_null",
)  # fmt: skip


@pytest.mark.parametrize("word", sorted({*FIELD, *STR_NA_VALUES}))
@pytest.mark.parametrize("column", ["lesion_id", "patient_id"])
def test_a_word_for_a_missing_value_is_no_id(join: Join, column: str, word: str) -> None:
    rows = "".join(f'I{number},nv,"{word}"\n' for number in range(4))
    labels = join(f"image,dx,{column}\n{rows}J,nv,A17\n")
    assert [value for [value] in values(labels, column)] == ["", "", "", "", "A17"]


IDS = "1 10 -12345 P-1 A-9 NA12878 no7 N1 0x1f 3e12 00012 HAM_0000118 X xx1 R0"


@pytest.mark.parametrize("id", IDS.split())
def test_what_may_be_an_id_stays_one(join: Join, id: str) -> None:
    assert values(join(f"image,dx,lesion_id\nI,nv,{id}\nJ,nv,A17\n"), "lesion_id") == [[id], ["A17"]]


def test_an_id_is_the_same_with_the_decimals_that_a_blank_cell_gives_its_column(join: Join) -> None:
    labels = join("image,dx,patient_id\nA,nv,17.0\nB,nv,\n", "image,dx,patient_id\nC,nv,17\nA,nv,17\n")
    assert values(labels, "patient_id") == [["17"], [""], ["17"]]
    assert labels.conflict_counts == {}


@pytest.mark.parametrize("id", ["1.23457E+11", "4.2e14", "4e+14", "1,2E+10"])
def test_ids_that_a_spreadsheet_rounded_are_one_clear_error(join: Join, id: str) -> None:
    with pytest.raises(DataError, match=r"row 3: patient_id is .* in 2 rows in all: a spreadsheet has rounded"):
        join(f'image,dx,patient_id\nA,nv,5\nB,nv,"{id}"\nC,nv,"{id}"\n')


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("lesion_id_x,lesion_id_y", ["table1.csv: not read: lesion_id_x, lesion_id_y. If it says"]),
        ("PatientNr,colour", ["table1.csv: not read: patientnr. If it says"]),
        ("lesion_size,patient_age", []),
        ("lesion_id,patient_id", []),
    ],
)
def test_columns_that_may_be_ids_and_are_not_read_are_named(join: Join, header: str, said: list[str]) -> None:
    notes = join(f"image,dx,{header}\nA,nv,1,2\n").notes
    assert [note[: len(start)] for note, start in zip(notes, said, strict=True)] == said


def test_lesions_that_are_numbered_from_0_keep_their_first(join: Join) -> None:
    rows = "".join(f"I{number},nv,{number // 2}\n" for number in range(8))
    assert [value for [value] in values(join("image,dx,lesion_id\n" + rows), "lesion_id")] == list("00112233")


def test_0_of_more_images_than_any_lesion_is_a_missing_value(join: Join) -> None:
    rows = "".join(f"I{number},nv,{max(0, number - 4)}\n" for number in range(8))
    labels = join("image,dx,lesion_id\n" + rows)
    assert [value for [value] in values(labels, "lesion_id")] == ["", "", "", "", "", "1", "2", "3"]
    assert labels.notes == ["table1.csv: lesion_id '0' in 5 rows counts as not known."]


@pytest.mark.parametrize("word", ["-9", "#N/A", "not available", "?", "n.a."])
def test_such_words_are_no_sex_no_site_and_no_source(join: Join, word: str) -> None:
    labels = join(f"image,dx,sex,site,source,age\nI,nv,{word},{word},{word},{word}\n")
    assert values(labels, "sex", "site", "source") == [["", "", ""]]
    assert labels.rows["age"].isna().all()


@pytest.mark.parametrize(
    "word",
    [
        "?",
        "#N/A",
        "n.a.",
        "not available",
        "-",
        "None",
        "missing",
        "pending",
        "Histology pending",
        "awaiting biopsy result",
    ],
)
def test_such_a_word_is_no_diagnosis(join: Join, word: str) -> None:
    assert values(join(f'image,dx\nI,"{word}"\n'), "dx", "label") == [["", "unknown"]]


@pytest.mark.parametrize("word", ["biopsy", "pathology report", "pending nevus"])
def test_such_a_word_is_a_diagnosis_that_nobody_knows(join: Join, word: str) -> None:
    assert values(join(f'image,dx\nI,"{word}"\n'), "dx", "label") == [[word.casefold(), "unknown"]]


# --- Numbered within the patient ----------------------------------------------------------------------------------


def numbered(patients: int, lesions: int, images: int = 2) -> list[tuple[str, str, str]]:
    """Return image, patient and lesion, with lesions numbered from 1 within each patient."""
    return [
        (f"I{patient}_{lesion}_{image}", f"P{patient}", str(lesion))
        for patient in range(patients)
        for lesion in range(1, lesions + 1)
        for image in range(images)
    ]


def test_lesions_numbered_within_each_patient_are_pairs(join: Join) -> None:
    rows = numbered(patients=5, lesions=3)
    labels = join("image,dx,patient_id,lesion_id\n" + "".join(f"{i},nv,{p},{lesion}\n" for i, p, lesion in rows))
    assert labels.rows["lesion_id"].nunique() == 15
    assert values(labels, "lesion_id")[0] == ["P0 / 1"]
    [note] = labels.notes
    assert "'1' has 5 patients; 3 ids have several" in note
    assert "15 lesions, each a pair" in note


def test_the_patient_may_be_in_another_table_than_the_lesion(join: Join) -> None:
    rows = numbered(patients=3, lesions=2)
    labels = join(
        "image,dx,lesion_id\n" + "".join(f"{image},nv,{lesion}\n" for image, _, lesion in rows),
        "image,patient_id\n" + "".join(f"{image},{patient}\n" for image, patient, _ in rows),
        "image,lesion_id\n" + "".join(f"{image},IL_{patient[1:]}{lesion}\n" for image, patient, lesion in rows),
    )
    assert labels.rows["lesion_id"].nunique() == 6
    assert labels.conflict_counts == {}


def test_a_row_without_a_patient_where_lesions_are_numbered_within_it_is_refused(join: Join) -> None:
    rows = [*numbered(patients=3, lesions=2), ("lost", "", "1"), ("own", "", "77"), ("none", "", "")]
    labels = join("image,dx,patient_id,lesion_id\n" + "".join(f"{i},nv,{p},{lesion}\n" for i, p, lesion in rows))
    refused = {image: reason for image, reason in values(labels, "image", "refused") if reason}
    assert list(refused) == ["lost"]
    assert "numbered within each patient" in str(refused["lost"])


def test_a_rare_lesion_with_two_patients_is_a_mistake_and_stays_one_lesion(join: Join) -> None:
    rows = [(f"I{number}", f"P{number}", f"L{number}") for number in range(60)] + [("twin", "P7b", "L7")]
    labels = join("image,dx,patient_id,lesion_id\n" + "".join(f"{i},nv,{p},{lesion}\n" for i, p, lesion in rows))
    assert labels.rows["lesion_id"].nunique() == 60
    assert labels.notes == ["1 lesion id has two patients each, the first: 'L7'. Each still counts as one lesion."]
    assert (labels.rows["refused"] == "").all()


def test_lesions_of_one_patient_each_stay_as_they_are(join: Join) -> None:
    labels = join("image,dx,patient_id,lesion_id\nA,nv,P1,1\nB,nv,P1,2\nC,nv,P2,3\nD,nv,,4\nE,nv,,1\n")
    assert values(labels, "lesion_id", "refused") == [[one, ""] for one in "12341"]
    assert labels.notes == []
