from __future__ import annotations

import errno
import os
import struct
import time
import zlib
from pathlib import Path

import cv2
import pytest

from skinlesion.data.images.file import decode, read_header, to_model_size
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import Shard
from skinlesion.stages.ingest import ingest
from skinlesion.stages.resize import resize


def files(dataset):
    """Give name -> (content, mtime) of the processed images."""
    folder = layout.processed(dataset.folder)
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def contents(dataset):
    return {name: content for name, (content, _) in files(dataset).items()}


def test_every_accepted_image_becomes_a_jpeg_of_the_models_size(processed):
    made = contents(processed)
    assert set(made) == {f"{image}.jpg" for image in processed.catalog().index}
    for name, content in made.items():
        header = read_header(content)
        assert (header.format, header.width, header.height, header.mode) == ("JPEG", 224, 224, "RGB")
        original = processed.original(name).read_bytes()
        header = read_header(original)
        wanted = to_model_size(decode(original, header), header)
        assert abs(decode(content, header).astype(int) - wanted).mean() < 1.5


def test_without_a_catalog_resize_asks_for_ingest(few, config):
    with pytest.raises(DataError, match=r"catalog\.parquet is missing: .* Run ingest first"):
        resize(config())
    assert not layout.processed(few.folder).exists()


def test_a_second_run_changes_no_file(processed, config, snapshot):
    before = snapshot(processed.folder)
    report = resize(config())
    assert (report.seen, report.done, report.skipped) == (18, 0, 18)
    assert snapshot(processed.folder) == before


def test_one_new_image_is_the_only_one_resized(processed, config, jpeg):
    before = files(processed)
    processed.add("new", jpeg(1))
    ingest(config())
    assert resize(config()).done == 1
    after = files(processed)
    assert set(after) - set(before) == {"new.jpg"}
    assert {name: after[name] for name in before} == before


def test_a_changed_original_is_the_only_one_resized_again(processed, config, jpeg):
    before = files(processed)
    name = min(before)
    processed.put(name, jpeg(1))
    ingest(config())
    assert resize(config()).done == 1
    after = files(processed)
    assert after[name][0] != before[name][0]
    assert {other: after[other] for other in before if other != name} == {
        other: before[other] for other in before if other != name
    }


def test_a_touched_original_is_not_resized_again(processed, config):
    before = files(processed)
    os.utime(processed.original(min(before)))
    assert ingest(config()).done == 1
    assert resize(config()).done == 0
    assert files(processed) == before


def test_a_touched_processed_image_is_not_resized_again(processed, config, snapshot):
    os.utime(layout.processed(processed.folder) / min(files(processed)))
    before = files(processed)
    assert resize(config()).done == 0
    assert files(processed) == before
    settled = snapshot(processed.folder)
    assert resize(config()).done == 0
    assert snapshot(processed.folder) == settled


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"),
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
    ],
    ids=["deleted", "emptied", "one byte altered", "appended to"],
)
def test_a_processed_image_harmed_by_hand_is_restored(processed, config, harm):
    before = contents(processed)
    harm(layout.processed(processed.folder) / min(before))
    assert resize(config()).done == 1
    assert contents(processed) == before


def test_stray_files_and_images_whose_original_is_gone_are_removed(processed, config):
    before = contents(processed)
    gone = min(before)
    processed.original(gone).unlink()
    for stray in ("stray.jpg", "notes.txt"):
        (layout.processed(processed.folder) / stray).write_bytes(b"x")
    ingest(config())
    report = resize(config())
    assert (report.done, report.details["removed"]) == (0, 3)
    assert set(contents(processed)) == set(before) - {gone}
    assert processed.refusals() == {Path(gone).stem: "no file of this name in images/"}


def test_another_jpeg_quality_redoes_every_image(processed, config):
    before = contents(processed)
    assert resize(config(jpeg_quality=60)).done == 18
    smaller = contents(processed)
    assert all(len(smaller[name]) < len(before[name]) for name in before)
    assert resize(config()).done == 18
    assert contents(processed) == before


def test_force_redoes_every_image_and_gives_the_same_bytes(processed, config):
    before = files(processed)
    assert resize(config(force=True)).done == 18
    after = files(processed)
    assert all(after[name][0] == before[name][0] and after[name][1] > before[name][1] for name in before)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"garbage",
        lambda content: content[: len(content) // 2],
        lambda content: content[:200] + bytes([content[200] ^ 0xFF]) + content[201:],
    ],
    ids=["garbage", "truncated", "one byte flipped"],
)
def test_a_damaged_table_leads_to_the_same_images(processed, config, damage):
    before = contents(processed)
    part = min(layout.tables(processed.folder, "resize").iterdir())
    part.write_bytes(damage(part.read_bytes()))
    assert resize(config()).done >= 1
    assert contents(processed) == before
    assert resize(config()).done == 0


def test_a_lost_table_leads_to_the_same_images(processed, config):
    before = contents(processed)
    for part in layout.tables(processed.folder, "resize").iterdir():
        part.unlink()
    assert resize(config()).done == 18
    assert contents(processed) == before


def test_what_a_finished_process_left_half_written_is_removed(processed, config, snapshot):
    folder = layout.processed(processed.folder)
    before = snapshot(processed.folder)
    with atomic.replacing(folder / "half.jpg") as partial:
        partial.write_bytes(b"half")
        name = partial.name.replace(f"-{os.getpid()}-", "-4194999-")
    (folder / "half.jpg").rename(folder / name)
    assert resize(config()).done == 0
    assert snapshot(processed.folder) == before


@pytest.mark.parametrize("counts", [(3,), (2, 3), (64,)])
def test_shards_give_the_same_tree_as_one_run_also_when_their_number_changes(few, config, counts):
    ingest(config())
    resize(config())
    whole = contents(few)
    for path in layout.processed(few.folder).iterdir():
        path.unlink()
    first, *others = counts
    reports = [resize(config(), Shard(index, first)) for index in range(first)]
    assert (sum(report.done for report in reports), sum(report.seen for report in reports)) == (6, 6)
    assert contents(few) == whole
    for count in others:
        assert [resize(config(), Shard(index, count)).done for index in range(count)] == [0] * count
    assert resize(config()).done == 0
    assert contents(few) == whole


def test_a_shard_leaves_the_files_of_the_others_alone(processed, config):
    before = files(processed)
    (layout.processed(processed.folder) / "stray.jpg").write_bytes(b"x")
    removed = [resize(config(), Shard(index, 3)).details["removed"] for index in range(3)]
    assert sorted(removed) == [0, 0, 1]
    assert files(processed) == before


def test_the_number_of_workers_changes_nothing(few, config):
    ingest(config())
    resize(config(workers=1))
    before = contents(few)
    resize(config(workers=5, force=True))
    assert contents(few) == before


@pytest.mark.parametrize("meanwhile", ["deleted", "replaced"])
def test_an_original_that_changes_after_ingest_is_refused_until_it_is_back(few, config, jpeg, meanwhile):
    ingest(config())
    name = min(path.name for path in layout.images(few.folder).iterdir())
    content = few.original(name).read_bytes()
    if meanwhile == "deleted":
        few.original(name).unlink()
    else:
        few.put(name, jpeg(1))
    report = resize(config())
    assert (report.refused, list(report.details["refused_because"])) == (1, [Path(name).stem])
    assert name not in contents(few)
    few.put(name, content)
    ingest(config())
    report = resize(config())
    assert (report.done, report.refused) == (1, 0)
    assert name in contents(few)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_decompression_bomb_costs_nothing(few, config):
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(60_001))) + png_chunk(b"IEND", b"")
    few.add("bomb", bomb, ".png")
    started = time.monotonic()
    ingest(config())
    resize(config())
    assert time.monotonic() - started < 5
    assert few.refusals() == {"bomb": "20000x20000 pixels; at most 100,000,000 are decoded"}


@pytest.mark.parametrize("nth", [1, 4])
def test_a_full_disk_stops_resize_and_the_next_run_completes_it(few, config, monkeypatch, nth):
    ingest(config())
    resize(config())
    wanted = contents(few)
    for path in layout.processed(few.folder).iterdir():
        path.unlink()
    written = []
    write_bytes = Path.write_bytes

    def fill_up(path, content):
        written.append(path)
        if len(written) >= nth:
            write_bytes(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_bytes(path, content)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "write_bytes", fill_up)
        resize(config(workers=1))
    assert contents(few).items() <= wanted.items()
    assert all(cv2.imread(str(layout.processed(few.folder) / name)) is not None for name in contents(few))
    resize(config())
    assert contents(few) == wanted
