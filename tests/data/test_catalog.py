"""The catalog keeps its contract, and its version names what training sees."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.data.catalogs import catalog_of

from skinlesion.data.catalog import accepted, data_version, read_catalog, split_of_catalog, write_catalog
from skinlesion.data.split import HELD_OUT, SPLITS
from skinlesion.data.split_version import SplitVersion
from skinlesion.foundation.errors import LeakError


def lesions(count: int) -> pd.DataFrame:
    """Return a catalog of accepted images, each of a lesion of its own, in turns on either side of the split."""
    return catalog_of([{"split": SPLITS[number % 2]} for number in range(count)])


SPLIT = SplitVersion(generation=3, digest="d19e57")


def test_a_catalog_is_read_as_it_was_written_and_written_once(tmp_path: Path) -> None:
    catalog = lesions(20)
    catalog.loc[0, "age"] = float("nan")
    assert write_catalog(tmp_path, catalog, SPLIT)
    assert read_catalog(tmp_path).equals(catalog)
    assert not write_catalog(tmp_path, catalog, SPLIT)
    assert split_of_catalog(tmp_path) == SPLIT


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("label", "maybe", "label is a class"),
        ("split", "test", "split is a side"),
        ("split", "", "has a hash, a class and a side"),
        ("sha256", "", "has a hash, a class and a side"),
        ("age", 131.0, "age is from 0 to 130"),
        ("image", "I0001", "each once"),
        ("image", "", "image is a name"),
        ("sex", None, "all but the age is filled in"),
    ],
)
def test_a_catalog_that_breaks_its_contract_is_not_written(
    tmp_path: Path, column: str, value: float | str | None, rule: str
) -> None:
    catalog = lesions(5)
    catalog.loc[0, column] = value
    with pytest.raises(ValueError, match=rf"breaks its contract: .*{rule}.*: not "):
        write_catalog(tmp_path, catalog, SPLIT)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_with_a_leak_is_not_written(tmp_path: Path) -> None:
    catalog = lesions(50).assign(group="lesion:one")
    with pytest.raises(LeakError):
        write_catalog(tmp_path, catalog, SPLIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("column", "changes"), [("label", True), ("split", True), ("sha256", True), ("sex", False)])
def test_the_data_version_names_contents_labels_and_sides(column: str, changes: bool) -> None:
    catalog = lesions(20)
    other = catalog.copy()
    other.loc[0, column] = {"label": "unknown", "split": HELD_OUT}.get(column, "other")
    assert (data_version(other) != data_version(catalog)) == changes
    refused = pd.concat([catalog, catalog.head(1).assign(image="X", refused="why")], ignore_index=True)
    assert len(accepted(refused)) == len(catalog)
    assert data_version(refused) == data_version(catalog)
