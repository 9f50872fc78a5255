"""What the disk does not take is never believed to be written: on a real disk that is full, and on one that takes less."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skinlesion.foundation import append_log, atomic
from skinlesion.foundation.tables import write_table
from skinlesion.network.feature_store import FeatureStore
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry

OLD = b"what was there before"


def entry(reason: str) -> HistoryEntry:
    return HistoryEntry(at="2026-07-01T02:00:00+00:00", what="judged", actor="ann", version=1, reason=reason)


FLUSH_ALL = atomic.flush_all
"""As it is before the tests of the stages, which wait for no disk, put another in its place."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that makes a disk of so many pages of 4 KiB; the test is left out where nothing may be mounted."""
    mounted: list[Path] = []

    def mount(pages: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={4 * pages}k", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("This user may not mount a disk.")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, bytes_left: int) -> None:
    """Fill a disk up to its last bytes."""
    free = os.statvfs(folder).f_bavail * 4096
    (folder / "filler").write_bytes(bytes(max(0, free - bytes_left)))


def stored(folder: Path) -> None:
    FeatureStore(folder / "store").add(["a", "b"], np.ones((2, 8161), dtype=np.float16))


def archived(folder: Path) -> None:
    with atomic.replacing(folder / "file.npz") as partial, partial.open("wb") as file:
        np.savez(file, a=np.ones(16384))


def tabled(folder: Path) -> None:
    write_table(folder / "file.parquet", pd.DataFrame({"n": np.random.default_rng(1).random(4000)}), {"n": "float64"})


def recorded(folder: Path) -> None:
    entry("why " * 8000).write(folder / "file.json")


WRITERS: dict[str, Callable[[Path], None]] = {
    "an array of activations": stored,
    "an archive of arrays": archived,
    "a table": tabled,
    "a record": recorded,
    "bytes": lambda folder: atomic.write_bytes(folder / "file.bin", bytes(32768 + 9)),
    "one of many": lambda folder: atomic.write_one_of_many(folder / "file.bin", bytes(32768 + 9)),
}


def files(folder: Path) -> dict[str, bytes]:
    """Return the files that count by their paths; that of a table without its content, which has times in it."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and name != "filler" and not any(map(atomic.is_partial, Path(name).parts)):
            if path.suffix == ".parquet":
                assert pd.read_parquet(path).shape[0] > 0
            found[name] = path.read_bytes() if path.suffix != ".parquet" else b""
    return found


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_on_a_full_disk_a_file_is_whole_or_the_error_is_raised(
    disk: Callable[[int], Path], tmp_path: Path, write: Callable[[Path], None]
) -> None:
    """NumPy says nothing of the last bytes that a full disk does not take: a store of activations was believed, and torn."""
    whole = tmp_path / "whole"
    whole.mkdir()
    write(whole)
    expected, raised = files(whole), 0
    pages = sum(-(-len(path.read_bytes()) // 4096) for path in whole.rglob("*") if path.is_file())
    for left in range(pages + 6):
        folder = disk(pages + 6)
        fill(folder, 4096 * left)
        try:
            write(folder)
        except OSError:
            raised += 1
            assert files(folder).items() <= expected.items()
        else:
            assert files(folder) == expected
    assert raised


def test_lines_on_a_disk_that_becomes_full_are_there_or_were_refused(disk: Callable[[int], Path]) -> None:
    """A line of the history was reported as written and was torn."""
    folder = disk(4)
    path, written = folder / "history.jsonl", []
    with pytest.raises(OSError, match="No space left"):
        for number in range(1000):
            append_log.append(path, entry(f"reason {number}"))
            written.append(f"reason {number}")
    assert written
    lines = append_log.read(path, HistoryEntry.of_line)
    assert lines.damage == ()
    assert [one.reason for one in lines.records] == written
    assert path.read_bytes().endswith(b"\n")


def taking_at_most(limit: int, until: int) -> Callable[[int, bytes], int]:
    """Return an os.write that takes so many bytes at once, and no more than `until` in all."""
    write, taken = os.write, 0

    def short(descriptor: int, content: bytes) -> int:
        nonlocal taken
        if taken >= until:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        done = write(descriptor, bytes(content)[: min(limit, until - taken)])
        taken += done
        return done

    return short


@pytest.mark.parametrize("limit", [1, 7, 4096])
def test_a_disk_that_takes_a_few_bytes_at_once_gets_the_whole_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = history.path(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", taking_at_most(limit, 10**9))
        for number in (1, 2):
            append_log.append(path, entry(f"reason {number}"))
        atomic.write_text(tmp_path / "file", "whole")
    assert [one.reason for one in history.lines(tmp_path).all()] == ["reason 1", "reason 2"]
    assert (tmp_path / "file").read_text() == "whole"


def test_a_write_that_fails_at_any_byte_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, file = history.path(tmp_path), tmp_path / "file"
    append_log.append(path, entry("first"))
    before = path.read_bytes()
    atomic.write_bytes(file, OLD)
    for until in range(len(before)):
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", taking_at_most(16, until))
            with pytest.raises(OSError, match="quota"):
                append_log.append(path, entry("other"))
        assert path.read_bytes() == before
    for until in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", taking_at_most(16, until))
            with pytest.raises(OSError, match="quota"):
                atomic.write_bytes(file, b"new")
        assert file.read_bytes() == OLD
    assert {one.name for one in tmp_path.iterdir()} == {"file", "registry"}


def test_a_disk_that_takes_nothing_and_says_nothing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(OSError, match="could not be written"):
        patched.setattr(os, "write", lambda descriptor, content: 0)
        atomic.write_bytes(tmp_path / "file", b"new")


def test_a_line_whose_flush_fails_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = history.path(tmp_path)
    append_log.append(path, entry("first"))

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output"):
            append_log.append(path, entry("second"))
        with pytest.raises(OSError, match="Input/output"):
            atomic.write_bytes(tmp_path / "file", b"new")
    assert [one.reason for one in history.lines(tmp_path).all()] == ["first"]
    assert not (tmp_path / "file").exists()


def test_what_many_threads_wrote_is_flushed_and_a_failure_is_told(tmp_path: Path) -> None:
    """os.sync tells nobody that the disk failed."""
    FLUSH_ALL(tmp_path)
    with pytest.raises(FileNotFoundError):
        FLUSH_ALL(tmp_path / "none")


def test_a_library_that_crashes_on_a_full_disk_is_not_asked_to_write(disk: Callable[[int], Path]) -> None:
    """HDF5 ended training with a segmentation fault, and nobody was told that the disk was full."""
    folder = disk(4)
    atomic.require_room(folder, 4 * 4096)
    with pytest.raises(OSError, match="No space left on device: 16,385 bytes are needed") as raised:
        atomic.require_room(folder, 4 * 4096 + 1)
    assert raised.value.errno == errno.ENOSPC
