"""Numbers in sentences: one is one, and many are many."""

from __future__ import annotations

import pytest

from skinlesion.foundation.wording import counted


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((1, "image"), "1 image"),
        ((0, "image"), "0 images"),
        ((2048, "augmented copy"), "2,048 augmented copies"),
        ((1, "row has", "rows have"), "1 row has"),
        ((2, "row has", "rows have"), "2 rows have"),
    ],
)
def test_a_number_stands_with_the_noun_that_fits_it(words: tuple[int, str], sentence: str) -> None:
    assert counted(*words) == sentence
