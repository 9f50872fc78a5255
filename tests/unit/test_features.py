from __future__ import annotations

import os

import numpy as np
import pytest

from skinlesion.features import FeatureStore


def rows(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2, 3)).astype(np.float16)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def test_rows_are_given_in_the_order_asked_for_across_parts(store):
    first, second = rows(3), rows(2, 1)
    store.add(["a", "b", "c"], first)
    store.add(["d", "e"], second)
    stored = store.open(["e", "a", "d", "a"])
    expected = np.stack([second[1], first[0], second[0], first[0]])
    assert (len(stored), stored.shape) == (4, (2, 3))
    assert np.array_equal(stored.take(np.arange(4)), expected)
    assert np.array_equal(stored.take(np.array([3, 0])), expected[[3, 0]])
    assert np.array_equal(stored.subset(np.array([2, 1])).take(np.array([1, 0])), expected[[1, 2]])
    assert stored.take(np.array([0])).dtype == np.float16


def test_a_row_that_is_not_stored_is_an_error_that_says_what_to_do(store):
    store.add(["a"], rows(1))
    with pytest.raises(KeyError, match="1 of 2 files have no stored activations; run embed"):
        store.open(["a", "b"])


def test_the_same_work_gives_the_same_files(store, tmp_path):
    other = FeatureStore(tmp_path / "other")
    for each in (store, other):
        each.add(["a", "b"], rows(2))
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == sorted(path.name for path in other.folder.iterdir())
    assert {name.rpartition(".")[2] for name in names} == {"npy", "parquet"}


def test_a_content_in_two_parts_is_listed_once(store):
    store.add(["a", "b"], rows(2))
    store.add(["b", "c"], rows(2))
    assert sorted(store.index()["sha256"]) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda part: part.write_bytes(part.read_bytes()[:-1] + b"\x7f"),
        lambda part: part.write_bytes(part.read_bytes()[:-8]),
        lambda part: part.write_bytes(b""),
        lambda part: part.unlink(),
        lambda part: part.with_suffix(".parquet").write_bytes(b"garbage"),
        lambda part: part.with_suffix(".parquet").write_bytes(b""),
    ],
    ids=["last byte altered", "truncated", "emptied", "deleted", "index damaged", "index emptied"],
)
def test_a_harmed_part_goes_and_the_others_stay(store, harm):
    store.add(["a", "b"], rows(2))
    (part,) = store.folder.glob("*.npy")
    store.add(["c"], rows(1, 1))
    harm(part)
    assert store.index()["sha256"].tolist() == ["c"]
    assert len(list(store.folder.iterdir())) == 2
    assert np.array_equal(store.open(["c"]).take(np.array([0])), rows(1, 1))


def test_a_touched_part_is_still_good(store):
    store.add(["a"], rows(1))
    for path in store.folder.iterdir():
        os.utime(path)
    assert store.index()["sha256"].tolist() == ["a"]


def test_a_part_without_its_index_counts_as_not_there(store):
    store.add(["a"], rows(1))
    next(store.folder.glob("*.parquet")).unlink()
    assert store.index().empty


def test_only_parts_that_nothing_needs_are_removed(store):
    store.add(["a", "b"], rows(2))
    store.add(["c"], rows(1))
    assert store.remove_unused({"b"}) == 1
    assert store.index()["sha256"].tolist() == ["a", "b"]
    assert store.remove_unused({"b"}) == 0
