from __future__ import annotations

import pytest

from skinlesion.data.labels.classes import LABEL_OF_DX, LABELS
from skinlesion.data.labels.diagnosis import is_recognised, label_of, normalise_dx


@pytest.mark.parametrize(
    ("label", "codes"),
    [
        ("malignant", ["mel", "bcc", "scc"]),
        ("benign", ["nv", "bkl", "df", "vasc"]),
        ("unknown", ["ak", "akiec", "unk", "unknown", ""]),
    ],
)
def test_each_code_has_its_class_whatever_its_case(label: str, codes: list[str]) -> None:
    for code in codes:
        for written in (code, code.upper(), f"  {code.title()}\t"):
            assert label_of(written) == label
            assert is_recognised(written)


@pytest.mark.parametrize("dx", ["zebra", "m e l", "nv1", "other", "=1+1", "x" * 100_000])
def test_a_code_that_nobody_knows_is_unknown_and_recognisable_as_such(dx: str) -> None:
    assert label_of(dx) == "unknown"
    assert not is_recognised(dx)


def test_classes_are_in_the_order_of_keras_directories() -> None:
    assert list(LABELS) == sorted(LABELS)
    assert set(LABEL_OF_DX.values()) == set(LABELS)
    assert all(code == normalise_dx(code) for code in LABEL_OF_DX)
