"""Two ingests of one data set work one after the other."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from tests.data.sources.data_set import NewConfig, visible

from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation.lock import DatasetBusy, locked
from skinlesion.stages.ingest import ingest

HOLD = """
import sys, time
from pathlib import Path
from skinlesion.foundation.lock import locked

with locked(Path(sys.argv[1]), "ingest", wait=0):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(dataset: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLD, str(dataset)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_second_ingest_says_which_process_is_at_work(
    dataset: Path, config: NewConfig, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(DatasetBusy, match=rf"another ingest works .* \(process {holder.pid} on .*waited 0 s"):
        ingest(config())


def test_a_killed_holder_leaves_no_lock(dataset: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (dataset / ".ingest.lock").exists()
    with locked(dataset, "ingest", wait=0):
        pass
    assert not (dataset / ".ingest.lock").exists()


def test_a_full_disk_that_keeps_the_file_keeps_no_lock(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that lived on waited for a minute for itself, and could never write again."""

    def fails(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as disk, locked(dataset, "ingest", wait=0):
        disk.setattr(Path, "unlink", fails)
    with locked(dataset, "ingest", wait=0):
        pass


def test_it_waits_for_the_set_time(dataset: Path, holder: subprocess.Popen[str]) -> None:
    threading.Timer(0.3, holder.kill).start()
    with locked(dataset, "ingest", wait=20):
        pass


def test_many_that_want_it_have_it_one_at_a_time(dataset: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with locked(dataset, "ingest", wait=30):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(6)))
    assert most == [1] * 6
    assert not list(dataset.glob(".*"))


def test_two_ingests_at_once_take_each_dropped_file_once(dataset: Path, config: NewConfig, tmp_path: Path) -> None:
    write_sample(tmp_path / "drop", images=12, size=(96, 72))
    (tmp_path / "drop" / "diagnoses.csv").rename(dataset / "diagnoses.csv")
    originals = visible(tmp_path / "drop")
    settings = config(drop_folder=str(tmp_path / "drop"), ingest_wait=60)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(ingest, [settings, settings]))
    sources = [cast(dict[str, dict[str, int]], report.details["sources"]) for report in reports]
    assert sorted(source["drop_folder"]["arrived"] for source in sources) == [0, 12]
    assert visible(tmp_path / "drop") == {}
    images = {name: content for name, content in visible(dataset).items() if name.startswith("images/")}
    assert images == {f"images/{name}": content for name, content in originals.items()}
    assert sum(report.done for report in reports) == 12


def test_the_lock_is_gone_after_an_error(dataset: Path, config: NewConfig) -> None:
    with pytest.raises(Exception, match="diagnoses"):
        ingest(config())
    assert not (dataset / ".ingest.lock").exists()
