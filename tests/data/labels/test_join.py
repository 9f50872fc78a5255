"""Tables of one set of images are joined by name; what they disagree on is listed and not guessed."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from tests.data.labels.tables import Join, values, write_tables

from skinlesion.data.labels.join import join_tables
from skinlesion.data.labels.joined import TableValue
from skinlesion.foundation.errors import DataError

HAM = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
GROUND_TRUTH = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
METADATA = "image,age_approx,anatom_site_general,lesion_id,sex\n"
SCC, AK, NV = "0,0,0,0,0,0,0,1,0\n", "0,0,0,1,0,0,0,0,0\n", "0,1,0,0,0,0,0,0,0\n"


def test_a_ground_truth_and_its_metadata_make_one_row_an_image(join: Join) -> None:
    labels = join(
        GROUND_TRUTH + f"ISIC_0000001_downsampled,{NV}ISIC_0024306,{SCC}",
        METADATA + "ISIC_0024306,55,anterior torso,HAM_1,male\nISIC_0000001_downsampled,30,,,female\n",
    )
    assert values(labels, "image", "dx", "label", "lesion_id", "age", "sex", "site", "source", "refused") == [
        ["ISIC_0000001_downsampled", "nv", "benign", "", 30, "female", "", "MSK", ""],
        ["ISIC_0024306", "scc", "malignant", "HAM_1", 55, "male", "anterior torso", "HAM10000", ""],
    ]
    assert labels.layouts == {"table1.csv": "isic-2019", "table2.csv": "isic-2019-metadata"}
    assert labels.conflicts == []


@pytest.mark.parametrize("order", [1, -1])
def test_akiec_becomes_what_the_ground_truth_of_2019_says_of_the_image(join: Join, order: int) -> None:
    ham = HAM + "".join(f"HAM_{name},{name},akiec,histo,,,\n" for name in "ABC")
    labels = join(*[ham, GROUND_TRUTH + f"A,{SCC}B,{AK}"][::order])
    rows = labels.rows.set_index("image")
    assert rows["dx"].to_dict() == {"A": "scc", "B": "ak", "C": "akiec"}
    assert rows["label"].to_dict() == {"A": "malignant", "B": "unknown", "C": "unknown"}
    assert labels.refined == {("akiec", "scc"): 1, ("akiec", "ak"): 1}
    assert labels.conflicts == []


@pytest.mark.parametrize(
    ("one", "other", "dx"),
    [
        ("", "mel", "mel"),
        ("unknown", "nv", "nv"),
        ("malignant", "Melanoma Invasive", "mel"),
        ("Benign epidermal proliferations", "solar lentigo", "bkl"),
        ("melanoma", "MEL", "mel"),
        ("zebra", "", "zebra"),
    ],
)
def test_a_diagnosis_that_says_more_is_no_conflict(join: Join, one: str, other: str, dx: str) -> None:
    for tables in ((one, other), (other, one)):
        labels = join(*(f"image,dx\nA,{written}\n" for written in tables))
        assert (values(labels, "dx", "refused"), labels.conflicts) == ([[dx, ""]], [])


@pytest.mark.parametrize(
    ("one", "other"), [("nv", "mel"), ("ak", "scc"), ("unk", "nv"), ("zebra", "nv"), ("mel", "benign")]
)
def test_two_classes_refuse_the_image_and_name_table_row_and_value(join: Join, one: str, other: str) -> None:
    labels = join(f"image,dx\nB,nv\nA,{one}\n", f"image_id,dx\nA,{other}\n")
    reason = f"the tables give it different diagnoses: table1.csv row 3 {one!r}, table2.csv row 2 {other!r}"
    expected = [["B", "nv", "benign", ""], ["A", "", "unknown", reason]]
    assert values(labels, "image", "dx", "label", "refused") == expected
    [conflict] = labels.conflicts
    assert conflict.values == (TableValue("table1.csv", 3, one), TableValue("table2.csv", 2, other))
    assert (conflict.image, conflict.what, conflict.becomes) == ("A", "diagnoses", "refused")
    assert labels.conflict_counts == {"diagnoses": 1}


@pytest.mark.parametrize(
    ("one", "other", "settings", "label"),
    [
        ("nv", "bkl", {}, "benign"),
        ("mel", "bcc", {}, "malignant"),
        ("zebra", "ak", {}, "unknown"),
        ("ak", "scc", {"actinic_keratosis": "malignant"}, "malignant"),
    ],
)
def test_two_diagnoses_of_one_class_count_as_that_class_and_are_listed(
    join: Join, one: str, other: str, settings: dict[str, str], label: str
) -> None:
    labels = join(f"image,dx\nA,{one}\n", f"image,dx\nA,{other}\n", **settings)
    assert values(labels, "dx", "label", "refused") == [[label, label, ""]]
    assert [conflict.becomes for conflict in labels.conflicts] == [f"counts as {label}"]


def test_a_third_table_does_not_outvote_two(join: Join) -> None:
    labels = join("image,dx\nA,nv\n", "image,dx\nA,nv\n", "image,dx\nA,mel\n")
    assert "table3.csv row 2 'mel'" in labels.rows["refused"].item()


def test_a_row_that_one_table_cannot_tell_is_refused_whatever_the_other_says(join: Join) -> None:
    labels = join(GROUND_TRUTH + "A,1,1,0,0,0,0,0,0,0\n", "image,dx\nA,nv\n")
    assert labels.rows["refused"].item().startswith("expected one 1")


# --- Lesions and patients -----------------------------------------------------------------------------------------


def test_ids_of_one_image_are_one_lesion_and_listed(join: Join) -> None:
    labels = join("image,dx,lesion_id\nA,nv,L1\nB,nv,L1\nC,nv,L2\nD,nv,L3\n", METADATA + "B,,,L2,\nD,,,L3,\nE,,,L2,\n")
    assert values(labels, "image", "lesion_id") == [["A", "L1"], ["B", "L1"], ["C", "L1"], ["D", "L3"], ["E", "L1"]]
    [conflict] = labels.conflicts
    assert (conflict.image, conflict.what) == ("B", "lesions")
    assert conflict.values == (TableValue("table1.csv", 3, "L1"), TableValue("table2.csv", 2, "L2"))


def test_the_archives_name_for_the_same_lesion_is_no_conflict(join: Join) -> None:
    ham = HAM + "HAM_1,A,nv,,,,\nHAM_1,B,nv,,,,\nHAM_2,C,nv,,,,\n"
    archive = "isic_id,diagnosis_1,lesion_id,patient_id\nA,Benign,IL_7,IP_1\nB,Benign,IL_7,IP_1\nC,Benign,IL_8,IP_1\nD,Benign,IL_7,IP_1\n"
    labels = join(ham, archive)
    assert labels.rows["lesion_id"].tolist() == ["HAM_1", "HAM_1", "HAM_2", "HAM_1"]
    assert labels.conflicts == []
    torn = join(ham, archive.replace("IL_8", "IL_7"))
    assert torn.rows["lesion_id"].tolist() == ["HAM_1"] * 4
    assert torn.conflict_counts == {"lesions": 3}


def test_patients_are_joined_likewise(join: Join) -> None:
    labels = join("image,dx,patient_id\nA,nv,P1\nB,nv,P2\n", "image,patient_id\nA,P2\n")
    assert labels.rows["patient_id"].tolist() == ["P1", "P1"]
    assert labels.conflict_counts == {"patients": 1}


def test_images_that_any_table_puts_in_one_lesion_are_in_one(tmp_path: Path) -> None:
    """Of many sets of six images, each with lesions of its own, four tables name some images and some lesions."""
    random = np.random.default_rng(0)
    lesion_of: list[dict[str, str]] = [{} for _ in range(4)]
    for number in range(100):
        lesions = ["", *(f"L{number}_{lesion}" for lesion in range(3)), f"IL_{2 * number}", f"IL_{2 * number + 1}"]
        for table in lesion_of[: 1 + number % 4]:
            for image in random.choice(6, size=random.integers(1, 7), replace=False):
                table[f"{number}-{image}"] = str(random.choice(lesions))
    contents = (
        "image,dx,lesion_id\n" + "".join(f"{image},nv,{lesion}\n" for image, lesion in table.items())
        for table in lesion_of
    )
    rows = join_tables(write_tables(tmp_path, contents)).rows
    joined: dict[str, str] = dict(zip(rows["image"], rows["lesion_id"], strict=True))
    for table in lesion_of:
        images_of: dict[str, list[str]] = {}
        for image, lesion in table.items():
            assert lesion == "" or joined[image] != ""
            images_of.setdefault(lesion, []).append(image)
        images_of.pop("", None)
        for images in images_of.values():
            assert len({joined[image] for image in images}) == 1
    images_in: dict[str, set[str]] = {}
    for image, lesion in joined.items():
        images_in.setdefault(lesion, set()).add(image.partition("-")[0])
    images_in.pop("", None)
    assert all(len(sets) == 1 for sets in images_in.values()), "no more is joined than the tables say"


# --- Other values -------------------------------------------------------------------------------------------------


def test_a_value_that_tables_disagree_on_is_not_known_and_listed(join: Join) -> None:
    labels = join(
        "image,dx,sex,age,source\nA,nv,male,50,one\nB,nv,male,50,one\n",
        "image,sex,age,source\nA,female,56,two\nB,,55,\n",
    )
    assert values(labels, "sex", "source") == [["", ""], ["male", "one"]]
    assert labels.rows["age"].fillna(-1).tolist() == [-1, 50]
    assert {conflict.what: conflict.values for conflict in labels.conflicts} == {
        "sex": (TableValue("table1.csv", 2, "male"), TableValue("table2.csv", 2, "female")),
        "source": (TableValue("table1.csv", 2, "one"), TableValue("table2.csv", 2, "two")),
        "age": (TableValue("table1.csv", 2, "50"), TableValue("table2.csv", 2, "56")),
    }


def test_words_for_a_site_differ_and_the_first_tables_counts(join: Join) -> None:
    labels = join(HAM + "L,A,nv,,,,back\n", METADATA + "A,,posterior torso,L,\n")
    assert (labels.rows["site"].item(), labels.conflicts) == ("back", [])


def test_only_so_many_conflicts_are_listed_and_all_counted(join: Join) -> None:
    names = [f"I{number}" for number in range(1200)]
    labels = join(*("image,dx\n" + "".join(f"{name},{dx}\n" for name in names) for dx in ("nv", "mel")))
    assert len(labels.conflicts) == 1000
    assert labels.conflict_counts == {"diagnoses": 1200}
    assert (labels.rows["refused"] != "").all()


# --- Which images -------------------------------------------------------------------------------------------------


def test_a_smaller_copy_and_its_original_are_one_image(join: Join) -> None:
    labels = join("image,dx\nA_downsampled,nv\n", "isic_id,lesion_id,diagnosis_1\nA,IL_1,Benign\n")
    assert values(labels, "image", "dx", "lesion_id") == [["A_downsampled", "nv", "IL_1"]]
    with pytest.raises(DataError, match=r"two diagnoses; .*row 2: 'A' 'nv'; row 3: 'A_downsampled' 'mel'"):
        join("image,dx\nA,nv\nA_downsampled,mel\n")


def test_an_image_that_only_a_table_without_diagnoses_names_has_none(join: Join) -> None:
    labels = join("image,dx\nA,\n", "image,sex\nA,male\nB,male\n")
    assert values(labels, "image", "label", "refused") == [["A", "unknown", ""], ["B", "unknown", ""]]


def test_tables_without_any_diagnosis_are_one_clear_error(join: Join) -> None:
    with pytest.raises(DataError, match=r"table1\.csv lacks the column dx; .*nor does any other of 2 tables"):
        join("image,sex\nA,male\n", "image,age\nA,5\n")


def test_an_image_that_only_supplements_name_need_not_be_there(join: Join) -> None:
    labels = join("image,dx\nA,nv\n", "image,dx\nA,nv\nB,nv\n", supplements=[2])
    assert values(labels, "image", "expected") == [["A", True], ["B", False]]


def test_rows_without_a_name_are_kept_apart_over_all_tables(join: Join) -> None:
    labels = join("image,dx\n,nv\n", "image,dx\n,mel\n")
    assert labels.rows["image"].tolist() == ["(table1.csv row 2)", "(table2.csv row 2)"]
    assert labels.rows["refused"].tolist() == ["the row has no image name"] * 2


def test_tables_of_one_name_are_called_by_their_paths(tmp_path: Path) -> None:
    paths = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "labels.csv")
        paths[-1].write_text("image,dx\nA,nv\n")
    assert list(join_tables(paths).layouts) == [str(path) for path in paths]


def test_the_order_of_tables_changes_no_class_and_no_refusal(tmp_path: Path) -> None:
    """Each image is one way in which three tables may name it, or not, with one of these diagnoses."""
    diagnoses = (None, "", "nv", "mel", "bkl", "akiec", "ak", "scc", "benign", "unk", "zebra")
    ways = list(product(diagnoses, repeat=3))
    contents = (
        "image,dx\n" + "".join(f"I{image},{way[table]}\n" for image, way in enumerate(ways) if way[table] is not None)
        for table in range(3)
    )
    paths = write_tables(tmp_path, contents)
    first, *others = (
        join_tables(order).rows.set_index("image").sort_index()[["dx", "label", "refused"]]
        for order in (paths, paths[::-1], [*paths[1:], paths[0]])
    )
    for other in others:
        assert first[["dx", "label"]].equals(other[["dx", "label"]])
        assert ((first["refused"] == "") == (other["refused"] == "")).all()
