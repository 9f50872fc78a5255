from __future__ import annotations

import pytest
from isic_metadata.diagnosis_hierarchical import DiagnosisEnum
from isic_metadata.fields import LegacyDxEnum

from skinlesion.data.labels.classes import LABEL_OF_DX
from skinlesion.data.labels.diagnosis import canonical_dx, is_recognised, label_of
from skinlesion.data.labels.names import OTHER_NAMES
from skinlesion.data.labels.taxonomy import ROOTS_OF_CODE, find, refines

CLASS_OF_TOP = {"Malignant": "malignant", "Benign": "benign", "Indeterminate": "unknown"}


@pytest.mark.parametrize(
    ("written", "dx", "label"),
    [
        ("Lentigo NOS", "lentigo nos", "benign"),
        ("cafe-au-lait macule", "cafe au lait macule or patch", "benign"),
        ("Benign", "benign", "benign"),
        ("Malignant", "malignant", "malignant"),
        ("Indeterminate", "indeterminate", "unknown"),
        ("Atypical Spitz tumor", "atypical spitz tumor", "unknown"),
        ("Malignant:Malignant epidermal proliferations:Keratoacanthoma", "keratoacanthoma", "malignant"),
        ("Melanoma Invasive", "mel", "malignant"),
        ("  basal_cell   CARCINOMA ", "bcc", "malignant"),
    ],
)
def test_a_name_at_any_level_has_its_diagnosis_and_its_class(written: str, dx: str, label: str) -> None:
    assert (canonical_dx(written), label_of(written), is_recognised(written)) == (dx, label, True)


def test_every_name_of_the_taxonomy_has_the_class_of_its_first_level_also_as_the_catalog_stores_it() -> None:
    for member in DiagnosisEnum:
        expected = CLASS_OF_TOP[member.value.split(":")[0]]
        for written in (member.value, member.value.rpartition(":")[2], canonical_dx(member.value)):
            assert label_of(written) == expected, written
            assert canonical_dx(written) == canonical_dx(member.value)


def test_the_archives_earlier_words_are_recognised_but_for_those_that_say_no_class() -> None:
    assert {word.value for word in LegacyDxEnum if not is_recognised(word.value)} == {"other", "adnexal tumor"}
    assert all(is_recognised(word) for word in OTHER_NAMES)


def test_the_codes_are_those_with_a_class() -> None:
    assert set(ROOTS_OF_CODE) == set(LABEL_OF_DX) - {"akiec", "unk", "unknown", ""}
    for code, roots in ROOTS_OF_CODE.items():
        for root in roots:
            found = find(root)
            assert found
            assert found.dx == code


@pytest.mark.parametrize("written", ["ak", "AKIEC", "actinic keratosis", "Actinic keratosis, Bowenoid"])
def test_the_class_of_actinic_keratosis_is_a_setting(written: str) -> None:
    assert label_of(written) == label_of(written, "indeterminate") == "unknown"
    assert label_of(written, "malignant") == "malignant"


@pytest.mark.parametrize("written", ["unk", "", "zebra", "Solar or actinic cheilitis", "Indeterminate", "nv"])
def test_the_setting_changes_nothing_else(written: str) -> None:
    assert label_of(written, "malignant") == label_of(written)


@pytest.mark.parametrize(
    ("finer", "coarser", "expected"),
    [
        ("scc", "akiec", True),
        ("ak", "akiec", True),
        ("akiec", "scc", False),
        ("mel", "akiec", False),
        ("mel", "malignant", True),
        ("malignant", "mel", False),
        ("nv", "benign melanocytic proliferations", True),
        ("bkl", "benign epidermal proliferations", True),
        ("bkl", "nv", False),
        ("ak", "indeterminate", True),
        ("ak", "malignant", False),
        ("mel", "unknown", True),
        ("zebra", "", True),
        ("zebra", "benign", False),
        ("nv", "zebra", False),
        ("unk", "mel", False),
        ("mel", "unk", False),
        ("zebra", "zebra", True),
    ],
)
def test_a_diagnosis_refines_what_it_is_a_kind_of(finer: str, coarser: str, expected: bool) -> None:
    assert refines(finer, coarser) is expected
