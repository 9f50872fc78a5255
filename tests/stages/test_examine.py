from __future__ import annotations

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.stages.data_set import DataSet, calls_of, detail, digests, jpeg, snapshot

from skinlesion.data import examined_files
from skinlesion.data.images.listed_files import FileStat
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.stages.collect import collect
from skinlesion.stages.examine import examine
from skinlesion.stages.ingest import ingest
from skinlesion.stages.pipeline import run_stage

TABLES = ("catalog.parquet", "split.parquet", "tables/")


def tables(dataset: DataSet) -> dict[str, str]:
    """Return the SHA-256, by path, of the catalog, the split and every part of a table."""
    return {path: digest for path, digest in digests(dataset.folder).items() if path.startswith(TABLES)}


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FileStat]]:
    """Return a list that grows by each file that is read, each time."""
    return calls_of(monkeypatch, examined_files, "_examine")


@pytest.mark.parametrize(
    "count", [1, 3, pytest.param(2, marks=pytest.mark.slow), pytest.param(64, marks=pytest.mark.slow)]
)
def test_shards_then_ingest_leave_the_bytes_that_ingest_alone_leaves(dataset: DataSet, count: int) -> None:
    dataset.add("bad", b"not a picture")
    dataset.put("other/twice.png", jpeg(1))
    dataset.add("twice", jpeg(2))
    report = ingest(dataset.config())
    expected = tables(dataset)
    for path in ("catalog.parquet", "split.parquet"):
        (dataset.folder / path).unlink()
    shutil.rmtree(dataset.folder / "tables")
    reports = [examine(dataset.config(), shard) for shard in Shard.every(count)]
    prepared = ingest(dataset.config(), prepared=True)
    assert tables(dataset) == expected
    assert sum(one.seen for one in reports) == sum(one.done for one in reports) == report.done == 21
    assert sum(one.refused for one in reports) == 1
    assert (prepared.seen, prepared.refused, prepared.done, prepared.skipped) == (report.seen, report.refused, 0, 21)
    assert prepared.details == report.details


def test_shards_at_the_same_time_read_each_file_once(dataset: DataSet, files_read: list[tuple[FileStat]]) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda shard: examine(dataset.config(), shard), Shard.every(3)))
    assert sorted(file.file for (file,) in files_read) == sorted(f"{row['image']}.jpg" for row in dataset.rows())
    assert ingest(dataset.config(), prepared=True).done == 0


def test_another_number_of_shards_finds_the_work_done(dataset: DataSet) -> None:
    for shard in Shard.every(2):
        examine(dataset.config(), shard)
    before = snapshot(dataset.folder)
    assert [examine(dataset.config(), shard).done for shard in Shard.every(3)] == [0, 0, 0]
    assert snapshot(dataset.folder) == before


def test_a_shard_reads_and_writes_its_own_buckets_alone(dataset: DataSet) -> None:
    examine(dataset.config(), Shard(0, 2))
    table = layout.tables(dataset.folder, "ingest")
    own = {f"{bucket:02d}.parquet" for bucket in Shard(0, 2).buckets()}
    assert {path.name for path in table.iterdir()} <= own
    before = {path.name: path.stat() for path in table.iterdir()}
    partial = table / ".01.another-host-1-1.partial.parquet"
    partial.write_bytes(b"half")
    examine(dataset.config(force=True), Shard(1, 2))
    assert partial.exists()
    assert {path.name: path.stat() for path in table.iterdir() if path.name in own} == before


def test_ingest_reads_what_no_shard_examined(dataset: DataSet, files_read: list[tuple[FileStat]]) -> None:
    done = examine(dataset.config(), Shard(0, 2)).done
    dataset.add("later", jpeg(1))
    assert ingest(dataset.config(), prepared=True).done == 19 - done
    assert len(files_read) == len(set(files_read)) == 19


def test_force_reads_each_file_once_in_a_run(few: DataSet, files_read: list[tuple[FileStat]]) -> None:
    ingest(few.config())
    files_read.clear()
    settings = few.config(force=True)
    assert [examine(settings, shard).done for shard in Shard.every(2)] != [0, 0]
    ingest(settings, prepared=True)
    assert len(files_read) == len(set(files_read)) == 6


def test_a_file_that_went_away_is_forgotten_by_its_shard(few: DataSet) -> None:
    examine(few.config())
    gone = few.rows()[0]["image"]
    few.original(f"{gone}.jpg").unlink()
    for settings, shard in itertools.product((few.config(force=True), few.config()), Shard.every(2)):
        examine(settings, shard)
    before = tables(few)
    assert ingest(few.config()).done == 0
    assert {path: digest for path, digest in tables(few).items() if path in before} == before


def test_a_killed_shard_goes_on_where_it_stopped(dataset: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examined_files, "_ROWS_BETWEEN_WRITES", 4)
    whole, calls = examined_files._examine, itertools.count()

    def killed(file: FileStat, **options: Any) -> dict[str, str | int | float]:
        if next(calls) == 10:
            raise KeyboardInterrupt
        return whole(file, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(examined_files, "_examine", killed)
        examine(dataset.config(workers=1))
    assert examine(dataset.config()).done == 18 - 8


def test_a_missing_folder_of_images_is_one_clear_error_before_any_shard(few: DataSet) -> None:
    shutil.rmtree(layout.images(few.folder))
    with pytest.raises(DataError, match=r"images is missing: expected"):
        collect(few.config())
    with pytest.raises(DataError, match=r"images is missing: expected"):
        examine(few.config(), Shard(1, 2))


def test_wrong_labels_are_reported_before_an_image_is_read(few: DataSet) -> None:
    few.labels.write_text("image,age\nA,3\n")
    with pytest.raises(DataError, match="lacks the column dx"):
        collect(few.config())


def test_collect_counts_what_the_sources_have_and_a_prepared_ingest_asks_none(few: DataSet, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (drop / "new.jpg").write_bytes(jpeg(1))
    (drop / "note.txt").write_text("no image")
    settings = few.config(drop_folder=str(drop), drop_settle_seconds=0)
    report = collect(settings)
    assert (report.done, report.refused) == (1, 1)
    assert report.seen == report.done + report.skipped + report.refused
    assert detail(report, "sources", "drop_folder", "arrived") == 1
    assert examine(settings).seen == 7
    (drop / "later.jpg").write_bytes(jpeg(2))
    prepared = ingest(settings, prepared=True)
    assert (prepared.done, prepared.details["sources"]) == (0, {})
    assert (drop / "later.jpg").exists()
    assert ingest(settings).done == 1


def test_collect_without_a_source_finds_nothing_and_changes_nothing(few: DataSet) -> None:
    before = snapshot(few.folder)
    report = run_stage("collect", few.config())
    assert (report.seen, report.done, report.details) == (0, 0, {"sources": {}})
    assert snapshot(few.folder) == before
