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


KILLED_AT = """
import itertools, os, shutil, signal, sys
from pathlib import Path
from skinlesion.foundation import atomic

def die_before(deadly):
    done = 0
    def watch(event, args):
        nonlocal done
        if event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "open"):
            done += 1
            if done == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

start, trials, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
if step == "two":
    atomic._LIBC = type("Libc", (), {"renameat2": staticmethod(lambda *given: -1)})
    atomic.ctypes.get_errno = lambda: 22
for deadly in itertools.count(1):
    trial = Path(shutil.copytree(start, trials / str(deadly)))
    child = os.fork()
    if child == 0:
        die_before(deadly)
        with atomic.replacing_folder(trial / "run") as new:
            (new / "model").write_text("new")
            (new / "record").write_text("new")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.parametrize("step", ["one", "two"])
def test_a_folder_that_is_replaced_is_the_old_or_the_new_one_wherever_the_process_is_killed(
    tmp_path: Path, step: str
) -> None:
    """step: whether the file system lets two folders change places in one step."""
    start = tmp_path / "start" / "run"
    start.mkdir(parents=True)
    for name in ("model", "record"):
        (start / name).write_text("old")
    trials = tmp_path / "trials"
    subprocess.run([sys.executable, "-c", KILLED_AT, start.parent, trials, step], check=True)
    found = []
    for trial in sorted(trials.iterdir(), key=lambda path: int(path.name)):
        if step == "two":
            atomic.settle_folder(trial / "run")
        held = {path.name: path.read_text() for path in (trial / "run").iterdir()}
        assert held in ({"model": "old", "record": "old"}, {"model": "new", "record": "new"})
        found.append(held["model"])
        atomic.remove_partials(trial)
        atomic.settle_folder(trial / "run")
        assert [path.name for path in trial.iterdir()] == ["run"]
    assert found == sorted(found, reverse=True)
    assert set(found) == {"old", "new"}
    assert len(found) > 8


def test_a_folder_whose_making_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model").write_text("old")
    with pytest.raises(OSError, match="full"), atomic.replacing_folder(tmp_path / "run") as new:
        (new / "model").write_text("half")
        raise OSError("full")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["run", "run/model"]
    assert (tmp_path / "run" / "model").read_text() == "old"


def test_a_folder_that_another_machine_fills_for_days_is_not_abandoned(tmp_path: Path) -> None:
    old = time.time() - atomic.ABANDONED_AFTER_SECONDS - 60
    for name, times in ((".scratch.otherhost-1-1.partial", time.time()), (".scratch.otherhost-2-1.partial", old)):
        inner = tmp_path / name / "run"
        inner.mkdir(parents=True)
        (inner / "weights").write_bytes(b"")
        os.utime(inner / "weights", (times, times))
        for folder in (inner, inner.parent):
            os.utime(folder, (old, old))
    atomic.remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".scratch.otherhost-1-1.partial"]
