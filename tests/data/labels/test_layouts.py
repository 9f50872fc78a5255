"""Each layout in circulation is recognised by its columns and says the same in the project's terms."""

from __future__ import annotations

import math

import pytest
from tests.data.labels.tables import Join, values

from skinlesion.foundation.errors import DataError

ISIC_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def one_hot(image: str, code: str, columns: str = ISIC_2019, one: str = "1.0", zero: str = "0.0") -> str:
    return ",".join([image, *(one if name == code else zero for name in columns.split(",")[1:])])


@pytest.mark.parametrize(
    ("layout", "table", "dx"),
    [
        ("own", "image,dx\nA,MEL\n", "mel"),
        ("own", "IMAGE, Dx \nA,mel\n", "mel"),
        ("own", "isic_id,dx\nA,mel\n", "mel"),
        ("own", "image,diagnosis\nA,melanoma\n", "mel"),
        ("own", "image,dx,diagnosis,target\nA,mel,nevus,0\n", "mel"),
        ("own", "image,dx,note,note\nA,mel,1,2\n", "mel"),
        ("ham10000", "lesion_id,image_id,dx,dx_type,age,sex,localization\nHAM_1,A,mel,histo,55,male,back\n", "mel"),
        ("isic-2018", "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nA,0,0,0,1.0,0,0,0\n", "akiec"),
        ("isic-2019", f"{ISIC_2019}\n{one_hot('A', 'SCC')}\n", "scc"),
        ("isic-2019", f"{ISIC_2019.lower()}\n{one_hot('A', 'UNK', one='1', zero='0')}\n", "unk"),
        ("isic-2019", f"{ISIC_2019},score_weight,validation_weight\n{one_hot('A', 'AK')},0.5,0\n", "ak"),
        ("isic-2020", "image_name,diagnosis,benign_malignant,target\nA,melanoma,malignant,1\n", "mel"),
        ("isic-2020", "image_name,target\nA,1\n", "malignant"),
        ("isic-archive", "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\nA,Benign,Benign melanocytic,Nevus\n", "nv"),
        ("isic-archive", "isic_id,diagnosis,benign_malignant\nA,nevus,benign\n", "nv"),
    ],
)
def test_a_layout_is_recognised_by_its_columns(join: Join, layout: str, table: str, dx: str) -> None:
    labels = join(table)
    assert labels.layouts == {"table1.csv": layout}
    assert values(labels, "image", "dx", "refused") == [["A", dx, ""]]


def test_what_a_table_says_beside_the_diagnosis_is_read_from_any_layout(join: Join) -> None:
    labels = join(
        "isic_id,attribution,age_approx,sex,anatom_site_general,diagnosis_1,lesion_id,patient_id\n"
        'A,"Hospital, Barcelona",55,Female,anterior torso,Benign,IL_1,IP_1\n'
        "B,,,unknown,N/A,Malignant,unknown,NaN\n"
    )
    columns = ("lesion_id", "patient_id", "sex", "site", "source")
    assert values(labels, *columns) == [
        ["IL_1", "IP_1", "female", "anterior torso", "Hospital, Barcelona"],
        ["", "", "", "", ""],
    ]
    assert labels.rows["age"].tolist()[0] == 55
    assert math.isnan(labels.rows["age"].tolist()[1])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,x", r"table1\.csv lacks the column dx; expected image and dx"),
        ("image,mel,nv", r"lacks the column dx"),
        ("image,MEL,NV,BCC,BKL,DF,VASC", r"lacks the column dx"),
        ("id,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK", r"lacks the column image; .*found: id, mel"),
        ("image,age_approx,anatom_site_general,lesion_id,sex", r"lacks the column dx"),
        (ISIC_2019 + ",dx", r"gives diagnoses in the columns dx and in mel, nv, .*; expected one way\. Remove"),
        ("image,dx,diagnosis_1", r"gives diagnoses in the columns dx and in diagnosis_1"),
        (ISIC_2019 + ",MEL", r"has the column mel more than once"),
    ],
)
def test_columns_that_are_no_layout_are_one_clear_error(join: Join, header: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        join(f"{header}\nA{',' * header.count(',')}\n")


def test_a_row_without_a_single_one_is_refused_and_the_others_stay(join: Join) -> None:
    not_one = (
        "0,0,0,0,0,0,0,0,0", "1,1,0,0,0,0,0,0,0", "0.6,0.4,0,0,0,0,0,0,0", "1,0,0,0,0,0,0,0,x", "1,,,,,,,,",
        "2,0,0,0,0,0,0,0,0", "nan,1,0,0,0,0,0,0,0",
    )  # fmt: skip
    rows = "".join(f"A{number},{cells}\n" for number, cells in enumerate(not_one))
    *refused, last = values(join(f"{ISIC_2019}\n{rows}{one_hot('B', 'NV')}\n"), "dx", "refused")
    assert last == ["nv", ""]
    assert {dx for dx, _ in refused} == {""}
    expected = "expected one 1 and else 0 in the columns of diagnoses; found MEL="
    assert all(str(reason).startswith(expected) for _, reason in refused)


def test_the_deepest_known_level_is_the_diagnosis(join: Join) -> None:
    dx_of = {
        "Malignant,Malignant melanocytic proliferations (Melanoma),Melanoma Invasive,,": "mel",
        "Benign,,,,": "benign",
        "Benign,Benign melanocytic proliferations,Nevus,A name of next year,": "nv",
        "Of next year,,,,": "of next year",
        ",,,,": "",
    }
    header = "isic_id,diagnosis_1,diagnosis_2,diagnosis_3,diagnosis_4,diagnosis_5\n"
    labels = join(header + "".join(f"I{number},{levels}\n" for number, levels in enumerate(dx_of)))
    assert values(labels, "dx", "refused") == [[dx, ""] for dx in dx_of.values()]


def test_levels_of_two_classes_refuse_the_row(join: Join) -> None:
    labels = join("isic_id,diagnosis_1,diagnosis_2,diagnosis_3\nA,Benign,,Melanoma Invasive\n")
    assert values(labels, "dx", "refused") == [["", "diagnosis_1 is 'Benign' but 'Melanoma Invasive' is malignant"]]


ISIC_2020 = "image_name,diagnosis,benign_malignant,target\n"


def test_the_class_follows_benign_malignant_not_the_word(join: Join) -> None:
    meaning = {
        "unknown,benign,0": ["benign", "benign", ""],
        "unknown,malignant,1": ["malignant", "malignant", ""],
        "nevus,benign,0": ["nv", "benign", ""],
        "lentigo NOS,benign,0": ["lentigo nos", "benign", ""],
        "atypical melanocytic proliferation,benign,0": ["benign", "benign", ""],
        "other,benign,0": ["benign", "benign", ""],
        "melanoma,malignant,1": ["mel", "malignant", ""],
        "melanoma,,": ["mel", "malignant", ""],
        "actinic keratosis,benign,0": ["ak", "unknown", ""],
        ",benign,": ["benign", "benign", ""],
        ",,0": ["benign", "benign", ""],
        "unknown,,": ["unknown", "unknown", ""],
        "atypical spitz tumor,indeterminate,": ["atypical spitz tumor", "unknown", ""],
        ",indeterminate/malignant,": ["indeterminate", "unknown", ""],
    }
    labels = join(ISIC_2020 + "".join(f"I{number},{row}\n" for number, row in enumerate(meaning)))
    assert values(labels, "dx", "label", "refused") == list(meaning.values())


def test_a_row_that_contradicts_itself_is_refused(join: Join) -> None:
    reasons = {
        "melanoma,benign,0": "diagnosis 'melanoma' is malignant but the table calls the image benign",
        "nevus,benign,1": "benign_malignant is 'benign' but target is '1'",
        "nevus,perhaps,0": "benign_malignant is 'perhaps'; expected benign or malignant",
        "nevus,benign,2": "target is '2'; expected 0 or 1",
        "nevus,benign,x": "target is 'x'; expected 0 or 1",
        "nevus,,1": "diagnosis 'nevus' is benign but the table calls the image malignant",
    }
    labels = join(ISIC_2020 + "".join(f"I{number},{row}\n" for number, row in enumerate(reasons)))
    assert values(labels, "dx", "refused") == [["", reason] for reason in reasons.values()]


@pytest.mark.parametrize(
    ("table", "source"),
    [
        ("image,dx,lesion_id,source\nA,nv,HAM_0000118,mine\n", "mine"),
        ("image,dx,lesion_id\nA,nv,HAM_0000118\n", "HAM10000"),
        ("image,dx,lesion_id\nA,nv,BCN_0001687\n", "BCN20000"),
        ("image,dx,lesion_id\nA,nv,MSK4_0011169\n", "MSK"),
        ("image,dx,lesion_id\nA,nv,HAMLET_1\n", ""),
        ("image,dx\nISIC_0000017_downsampled,nv\n", "MSK"),
        ("image,dx\nISIC_0024306,nv\n", "HAM10000"),
        ("image,dx\nISIC_0034321,nv\n", ""),
        ("image,dx\nISIC_0053454,nv\n", "BCN20000"),
        ("isic_id,attribution,diagnosis_1\nISIC_0053454,A hospital,Benign\n", "A hospital"),
        ("image_name,target\nISIC_2637011,0\n", "ISIC 2020"),
        ("image,dx\nmine_1,nv\n", ""),
    ],
)
def test_the_source_follows_from_column_lesion_attribution_or_number(join: Join, table: str, source: str) -> None:
    assert values(join(table), "source") == [[source]]
