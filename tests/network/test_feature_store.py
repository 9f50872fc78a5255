from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.strange_files import STRANGE, flipped, make_strange, watched

from skinlesion.foundation.errors import DataError
from skinlesion.network.feature_store import MOST_SMALL_PARTS, FeatureStore, StoredActivations, rows_in_a_part

Halves = npt.NDArray[np.float16]


def rows(count: int, seed: int = 0) -> Halves:
    return np.random.default_rng(seed).normal(size=(count, 2, 3)).astype(np.float16)


def whole_rows(stored: StoredActivations, positions: npt.NDArray[np.int64]) -> Halves:
    """Return all orientations of each row."""
    taken = [stored.take(positions, np.full(len(positions), at)) for at in range(stored.orientations)]
    return np.stack(taken, axis=1)


def two_parts(store: FeatureStore) -> tuple[Halves, Halves]:
    """Store the rows a to c in one part and d and e in another; return them."""
    first, second = rows(3), rows(2, 1)
    store.add(["a", "b", "c"], first)
    store.add(["d", "e"], second)
    return first, second


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features")


def test_rows_are_given_in_the_order_asked_for_across_parts(store: FeatureStore) -> None:
    first, second = two_parts(store)
    stored = store.open(["e", "a", "d", "a"])
    expected = np.stack([second[1], first[0], second[0], first[0]])
    assert (len(stored), stored.shape) == (4, (2, 3))
    assert np.array_equal(whole_rows(stored, np.arange(4)), expected)
    assert np.array_equal(whole_rows(stored, np.array([3, 0])), expected[[3, 0]])
    assert whole_rows(stored, np.array([0])).dtype == np.float16


def test_a_row_that_is_not_stored_is_an_error_that_says_what_to_do(store: FeatureStore) -> None:
    store.add(["a"], rows(1))
    with pytest.raises(DataError, match=r"1 of 2 training files have no stored activations in .* Run embed"):
        store.open(["a", "b"])


def test_the_same_work_gives_the_same_files(store: FeatureStore, tmp_path: Path) -> None:
    other = FeatureStore(tmp_path / "other")
    for each in (store, other):
        each.add(["a", "b"], rows(2))
    names = sorted(path.name for path in store.folder.iterdir())
    assert names == sorted(path.name for path in other.folder.iterdir())
    assert {name.rpartition(".")[2] for name in names} == {"npy", "parquet"}


def test_a_content_in_two_parts_is_listed_once(store: FeatureStore) -> None:
    store.add(["a", "b"], rows(2))
    store.add(["b", "c"], rows(2))
    assert sorted(store.index()["sha256"]) == ["a", "b", "c"]


def test_a_touched_part_is_still_good(store: FeatureStore) -> None:
    store.add(["a"], rows(1))
    for path in store.folder.iterdir():
        os.utime(path)
    assert store.index()["sha256"].tolist() == ["a"]


def test_only_parts_that_nothing_needs_are_removed(store: FeatureStore) -> None:
    store.add(["a", "b"], rows(2))
    store.add(["c"], rows(1))
    assert store.tidy({"b"}) == (0, 1)
    assert store.index()["sha256"].tolist() == ["a", "b"]
    assert store.tidy({"b"}) == (0, 0)


def small_parts(store: FeatureStore, count: int) -> tuple[list[str], Halves]:
    expected = rows(count, 7)
    for number in range(count):
        store.add([f"c{number}"], expected[number : number + 1])
    return [f"c{number}" for number in range(count)], expected


def test_few_small_parts_are_left_alone(store: FeatureStore) -> None:
    contents, _ = small_parts(store, MOST_SMALL_PARTS)
    assert store.tidy(set(contents)) == (0, 0)
    assert len(list(store.folder.glob("*.npy"))) == MOST_SMALL_PARTS


def test_many_small_parts_become_one_without_the_rows_that_nothing_needs(store: FeatureStore) -> None:
    contents, expected = small_parts(store, MOST_SMALL_PARTS + 3)
    wanted = contents[1:-1]
    assert store.tidy(set(wanted)) == (len(wanted), 2)
    assert len(list(store.folder.glob("part-*.npy"))) == 1
    assert sorted(store.index()["sha256"]) == sorted(wanted)
    assert np.array_equal(whole_rows(store.open(wanted), np.arange(len(wanted))), expected[1:-1])
    assert store.tidy(set(wanted)) == (0, 0)


def test_merged_parts_are_as_large_as_whole_ones(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skinlesion.network.feature_store.rows_in_a_part", lambda shape: 5)
    contents, expected = small_parts(store, 23)
    assert store.tidy(set(contents)) == (23, 0)
    assert sorted(store.index()["part"].value_counts()) == [3, 5, 5, 5, 5]
    assert np.array_equal(whole_rows(store.open(contents), np.arange(23)), expected)


def test_a_damaged_part_is_not_copied(store: FeatureStore) -> None:
    contents, expected = small_parts(store, MOST_SMALL_PARTS + 2)
    index = store.index()
    part = store.folder / index["part"][index["sha256"] == "c4"].item()
    stat = part.stat()
    part.write_bytes(flipped(part.read_bytes(), stat.st_size - 1))
    os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # rot, that no date betrays
    store.tidy(set(contents))
    others = [name for name in contents if name != "c4"]
    assert sorted(store.index()["sha256"]) == sorted(others)
    assert np.array_equal(whole_rows(store.open(others), np.arange(len(others))), np.delete(expected, 4, axis=0))


def test_a_compaction_killed_before_the_old_parts_go_leaves_every_row_and_is_tidied(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents, expected = small_parts(store, MOST_SMALL_PARTS + 1)
    with monkeypatch.context() as killed:
        killed.setattr(store, "_remove", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.tidy(set(contents))
    assert np.array_equal(whole_rows(store.open(contents), np.arange(len(contents))), expected)
    store.tidy(set(contents))
    assert np.array_equal(whole_rows(store.open(contents), np.arange(len(contents))), expected)
    assert len(list(store.folder.glob("part-*.npy"))) <= MOST_SMALL_PARTS


def test_only_one_shard_compacts(store: FeatureStore) -> None:
    contents, _ = small_parts(store, MOST_SMALL_PARTS + 1)
    with (store.folder / ".compaction.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert store.tidy(set(contents)) == (0, 0)
    assert store.tidy(set(contents)) == (MOST_SMALL_PARTS + 1, 0)


def test_a_part_holds_some_forty_megabytes(store: FeatureStore) -> None:
    assert rows_in_a_part((14, 14, 96)) == 1062
    assert rows_in_a_part((1280,)) == 4096
    assert rows_in_a_part((5000, 5000)) == 1


def test_one_orientation_of_a_row_is_read_without_the_others(store: FeatureStore) -> None:
    first, second = two_parts(store)
    found = store.open(["e", "a", "c"]).take(np.array([1, 0, 2, 1]), np.array([1, 0, 1, 0]))
    assert np.array_equal(found, np.stack([first[0, 1], second[1, 0], first[2, 1], first[0, 0]]))


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "without its end": lambda content: content[:-8],
    "empty": lambda content: b"",
    "text": lambda content: b"text",
    "last byte altered": lambda content: flipped(content, len(content) - 1),
}


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
@pytest.mark.parametrize("kind", [*sorted(STRANGE), *DAMAGES, "a folder", "removed"])
def test_a_damaged_part_goes_the_others_stay_it_is_computed_again_and_training_says_so(
    store: FeatureStore, tmp_path: Path, suffix: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Training ended with a KeyError where a part was damaged after embed, and hung at a FIFO."""
    parts = dict(zip(("abc", "de"), two_parts(store), strict=True))
    path = min(store.folder.glob(f"*{suffix}"))
    lost, kept = sorted(parts, key=lambda names: len(np.load(path.with_suffix(".npy"))) != len(names))
    content = path.read_bytes()
    path.unlink()
    if kind in STRANGE:
        make_strange(kind, path)
    elif kind == "a folder":
        path.mkdir()
        (path / "notes").write_text("somebody's")
    elif kind != "removed":
        path.write_bytes(DAMAGES[kind](content))
    with watched(tmp_path):
        with pytest.raises(DataError, match="Run embed"):
            store.open(["a", "b", "c", "d", "e"])
        assert set(store.index()["sha256"]) == set(kept)
        assert np.array_equal(whole_rows(store.open(list(kept)), np.arange(len(kept))), parts[kept])
        assert (kind, suffix) == ("removed", ".parquet") or not any(
            map(Path.is_file, store.folder.glob(f"{path.stem}.*"))
        )
        store.add(list(lost), rows(len(lost)))
        assert len(store.open(["a", "b", "c", "d", "e"])) == 5
    assert kind == "removed" or path.stem in caplog.text
