from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skinlesion.foundation import atomic


def ended_process() -> int:
    return int(
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True).stdout
    )


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_takes_the_others_place_whole(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new folder" / "file.h5"
    for content in (b"first", b"second"):
        with atomic.replacing(path, durable=durable) as partial:
            partial.write_bytes(content)
            assert partial.suffix == ".h5"
            assert atomic.is_partial(partial.name)
            assert path.exists() == (content == b"second")
        assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == ["file.h5"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(error), atomic.replacing(path) as partial:
        partial.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_flushed_before_it_is_renamed_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))  # noqa: PTH115, PTH119
        fsync(descriptor)

    def noted_replace(source: str, target: str) -> None:
        events.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    atomic.write_text(tmp_path / "file.txt", "é")
    assert (tmp_path / "file.txt").read_bytes() == "é".encode()
    assert atomic.is_partial(events[0])
    assert events[1:] == ["replace", tmp_path.name]
    events.clear()
    with atomic.replacing(tmp_path / "file.txt", durable=False) as partial:
        partial.write_bytes(b"x")
    assert events == ["replace"]


def test_what_did_not_change_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert atomic.write_if_changed(path, b"one")
    os.utime(path, ns=(1, 1))
    assert not atomic.write_if_changed(path, b"one")
    assert path.stat().st_mtime_ns == 1
    assert atomic.write_if_changed(path, b"two")
    assert path.read_bytes() == b"two"


@pytest.mark.parametrize("name", ["a" * 250 + ".jpg", "日" * 80 + ".jpg"])
def test_the_longest_name_that_the_file_system_takes_can_be_written(tmp_path: Path, name: str) -> None:
    atomic.write_bytes(tmp_path / name, b"content")
    assert (tmp_path / name).read_bytes() == b"content"


def test_only_abandoned_partial_files_are_removed(tmp_path: Path) -> None:
    host, gone = socket.gethostname(), ended_process()
    old = time.time() - atomic.ABANDONED_AFTER_SECONDS - 60
    abandoned = [
        f".a.{host}-{gone}-1.partial.jpg",
        ".b.otherhost-1-1.partial.jpg",
        f".c.{host}-{os.getpid()}-1.partial",
    ]
    kept = [f".d.{host}-{os.getpid()}-1.partial.jpg", ".e.otherhost-1-1.partial.jpg", "f.partial.jpg", ".g.jpg"]
    for name in (*abandoned, *kept):
        (tmp_path / name).write_bytes(b"half")
    for name in (*abandoned[1:], *kept[2:]):
        os.utime(tmp_path / name, (old, old))
    atomic.remove_partials(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(kept)


def test_many_threads_fill_a_folder_and_leave_nothing_else(tmp_path: Path) -> None:
    names = [f"{number}.jpg" for number in range(200)]
    (tmp_path / names[0]).write_bytes(b"old")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: atomic.write_one_of_many(tmp_path / name, name.encode()), names))
    assert all(atomic.is_partial(path.name) for path in tmp_path.iterdir() if path.is_dir())
    atomic.remove_partials(tmp_path, own=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: name.encode() for name in names}


def test_what_a_killed_process_was_writing_goes_with_its_folder(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from skinlesion.foundation import atomic\n"
        "os.replace = lambda *paths: os._exit(9)\n"
        "atomic.write_one_of_many(Path(sys.argv[1]) / 'a.jpg', b'half')"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 9
    assert [path.read_bytes() for path in tmp_path.rglob("*.jpg")] == [b"half"]
    assert not (tmp_path / "a.jpg").exists()
    atomic.remove_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_has_no_partial_files(tmp_path: Path) -> None:
    atomic.remove_partials(tmp_path / "none")
    assert not (tmp_path / "none").exists()
