from __future__ import annotations

import os

import pytest
from tests.stages.data_set import DataSet, Files, contents_of, detail, files_in, jpeg, snapshot

from skinlesion.data.images.file import decode, read_header, to_model_size
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.stages.ingest import ingest
from skinlesion.stages.resize import resize


def files(dataset: DataSet) -> Files:
    return files_in(layout.processed(dataset.folder))


def contents(dataset: DataSet) -> dict[str, bytes]:
    return contents_of(layout.processed(dataset.folder))


def test_every_accepted_image_becomes_a_jpeg_of_the_models_size(processed: DataSet) -> None:
    made = contents(processed)
    assert set(made) == {f"{image}.jpg" for image in processed.column("file")}
    for name, content in made.items():
        header = read_header(content)
        assert (header.format, header.width, header.height, header.mode) == ("JPEG", 224, 224, "RGB")
        original = processed.original(name).read_bytes()
        header = read_header(original)
        wanted = to_model_size(decode(original, header), header)
        assert abs(decode(content, header).astype(int) - wanted).mean() < 1.5


def test_without_a_catalog_resize_asks_for_ingest(few: DataSet) -> None:
    with pytest.raises(DataError, match=r"catalog\.parquet is missing: .* Run ingest first"):
        resize(few.config())
    assert not layout.processed(few.folder).exists()


def test_another_jpeg_quality_redoes_every_image(processed: DataSet) -> None:
    before = contents(processed)
    assert resize(processed.config(jpeg_quality=60)).done == 6
    smaller = contents(processed)
    assert all(len(smaller[name]) < len(before[name]) for name in before)
    assert resize(processed.config()).done == 6
    assert contents(processed) == before


def test_what_a_finished_process_left_half_written_is_removed(processed: DataSet) -> None:
    folder = layout.processed(processed.folder)
    before = snapshot(processed.folder)
    with atomic.replacing(folder / "half.jpg") as partial:
        partial.write_bytes(b"half")
        name = partial.name.replace(f"-{os.getpid()}-", "-4194999-")
    (folder / "half.jpg").rename(folder / name)
    assert resize(processed.config()).done == 0
    assert snapshot(processed.folder) == before


@pytest.mark.parametrize("counts", [(3,), (2, 3), pytest.param((64,), marks=pytest.mark.slow)])
def test_shards_give_the_same_tree_as_one_run_also_when_their_number_changes(
    processed: DataSet, counts: tuple[int, ...]
) -> None:
    whole = contents(processed)
    for path in layout.processed(processed.folder).glob("*.jpg"):
        path.unlink()
    first, *others = counts
    reports = [resize(processed.config(), shard) for shard in Shard.every(first)]
    assert (sum(report.done for report in reports), sum(report.seen for report in reports)) == (6, 6)
    assert contents(processed) == whole
    for count in others:
        assert [resize(processed.config(), shard).done for shard in Shard.every(count)] == [0] * count
    assert resize(processed.config()).done == 0
    assert contents(processed) == whole


def test_shards_remove_strays_and_leave_the_files_of_the_others_alone(processed: DataSet) -> None:
    before = files(processed)
    for stray in ("stray.jpg", "notes.txt"):
        (layout.processed(processed.folder) / stray).write_bytes(b"x")
    assert sum(detail(resize(processed.config(), shard), "removed") for shard in Shard.every(3)) == 2
    assert files(processed) == before


@pytest.mark.parametrize("workers", [1, 5])
def test_force_redoes_every_image_and_any_number_of_workers_gives_the_same_bytes(
    processed: DataSet, workers: int
) -> None:
    before = files(processed)
    assert resize(processed.config(workers=workers, force=True)).done == 6
    after = files(processed)
    assert all(after[name][0] == before[name][0] and after[name][1] > before[name][1] for name in before)


@pytest.mark.parametrize("content", [None, jpeg(1)], ids=["deleted", "replaced"])
def test_an_original_that_changes_after_ingest_is_refused_until_it_is_back(few: DataSet, content: bytes | None) -> None:
    ingest(few.config())
    image = few.rows()[0]["image"]
    path = few.original(f"{image}.jpg")
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    report = resize(few.config())
    assert (report.refused, list(detail(report, "refused_because"))) == (1, [image])
    assert path.name not in contents(few)
    few.put(path.name, whole)
    ingest(few.config())
    report = resize(few.config())
    assert (report.done, report.refused) == (1, 0)
    assert path.name in contents(few)
