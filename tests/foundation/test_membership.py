import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from skinlesion.foundation.membership import is_in

TEXTS = st.lists(st.text(st.sampled_from("ab\u00e9 "), max_size=3), max_size=12)


@given(TEXTS, TEXTS)
def test_it_says_the_same_as_pandas(texts: list[str], others: list[str]) -> None:
    column = pd.Series(texts, dtype="str", index=range(10, 10 + len(texts)))

    pd.testing.assert_series_equal(is_in(column, pd.Series(others, dtype="str")), column.isin(others))
    pd.testing.assert_series_equal(is_in(column, set(others)), column.isin(others))


def test_a_missing_text_is_in_what_has_one() -> None:
    column = pd.Series(["a", None], dtype="str")

    assert is_in(column, pd.Series(["b", None], dtype="str")).tolist() == [False, True]
    assert is_in(column, ["b"]).tolist() == [False, False]


def test_texts_of_a_table_read_in_parts() -> None:
    parts = pd.concat([pd.Series(["a", "b"], dtype="str"), pd.Series(["c"], dtype="str")])

    assert is_in(parts, parts.iloc[1:]).tolist() == [False, True, True]


def test_objects_that_are_texts() -> None:
    column = pd.Series(["a", "b", float("nan")], dtype=object)

    assert is_in(column, pd.Series(["b"], dtype=object)).tolist() == [False, True, False]
    assert is_in(column, column.iloc[2:]).tolist() == [False, False, True]
