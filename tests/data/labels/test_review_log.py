"""What people said of images: the history, the table that follows from it, and several writers, some of whom are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.data.labels.tables import reviewed
from tests.measured import known

from skinlesion.data.labels import review_log
from skinlesion.data.labels.readings import ReviewEntry, readings
from skinlesion.data.labels.review_log import ReviewedMeanwhile
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError

WRITER = """
import sys
from pathlib import Path
from skinlesion.data.labels import review_log
who = sys.argv[2]
for number in range(int(sys.argv[3])):
    entry = review_log.note(Path(sys.argv[1]), who, "labelled", {f"{who}_{number}": "aa"}, dx="mel")
    print(entry.number, f"{who}_{number}", flush=True)
"""


def say(dataset: Path, image: str, dx: str = "mel", by: str = "ann", **more: object) -> ReviewEntry:
    return review_log.note(dataset, by, "labelled", {image: f"sha-{image}"}, dx=dx, **more)  # type: ignore[arg-type]


def test_the_last_word_counts_and_the_history_keeps_every_word(tmp_path: Path) -> None:
    say(tmp_path, "a", "nv", why="a  network,\nno \x1b streaks")
    say(tmp_path, "b", "bcc")
    say(tmp_path, "a", "mel", by="ben")
    assert reviewed(tmp_path) == {"a": "mel", "b": "bcc"}
    entries = review_log.read(tmp_path)
    assert [(one.number, one.by, one.dx) for one in entries] == [(1, "ann", "nv"), (2, "ann", "bcc"), (3, "ben", "mel")]
    assert entries[0].why == "a network, no streaks"


def test_who_cannot_tell_takes_the_diagnosis_back_and_a_skip_says_nothing(tmp_path: Path) -> None:
    say(tmp_path, "a")
    say(tmp_path, "b")
    review_log.note(tmp_path, "ben", "cannot tell", {"a": ""})
    review_log.note(tmp_path, "ben", "skipped", {"b": ""})
    assert reviewed(tmp_path) == {"b": "mel"}
    assert {image for image, one in readings(review_log.read(tmp_path)).items() if one.is_settled} == {"a", "b"}


def test_an_undo_brings_back_what_counted_before_and_is_only_for_who_said_it(tmp_path: Path) -> None:
    say(tmp_path, "a", "nv")
    second = say(tmp_path, "a", "mel", by="ben")
    with pytest.raises(DataError, match="nothing that you said"):
        review_log.undo(tmp_path, "ann", second.number)
    review_log.undo(tmp_path, "ben", second.number)
    assert reviewed(tmp_path) == {"a": "nv"}
    with pytest.raises(DataError, match="undone before"):
        review_log.undo(tmp_path, "ben", second.number)
    last = known(review_log.last_of(review_log.read(tmp_path), "ann"))
    review_log.undo(tmp_path, "ann", last.number)
    assert not layout.review_table(tmp_path).exists()


def test_what_somebody_said_meanwhile_is_not_overwritten_unseen(tmp_path: Path) -> None:
    first = say(tmp_path, "a", seen=0)
    with pytest.raises(ReviewedMeanwhile, match=r"^ann said mel at \d\d:\d\d UTC, after you opened this image"):
        say(tmp_path, "a", "nv", by="ben", seen=0)
    assert reviewed(tmp_path) == {"a": "mel"}
    say(tmp_path, "a", "nv", by="ben", seen=first.number)
    assert reviewed(tmp_path) == {"a": "nv"}


@pytest.mark.parametrize("image", ["=1+1", "-7", "a.jpg", "x,y", 'q"q', "naïve", "1.2.840.10", "line\u2028end"])
def test_ingest_reads_the_names_that_were_said(tmp_path: Path, image: str) -> None:
    say(tmp_path, image)
    say(tmp_path, image, "nv", by="=cmd()")
    assert reviewed(tmp_path) == {image: "nv"}


def test_a_persons_own_table_of_that_name_is_never_replaced(tmp_path: Path) -> None:
    say(tmp_path, "a")
    path = layout.review_table(tmp_path)
    path.write_text(path.read_text().replace("mel", "nv"))
    with pytest.raises(DataError, match=r"review\.csv, row 2 is not from review_history\.jsonl.*another name"):
        review_log.write_table(tmp_path)
    path.unlink()
    review_log.write_table(tmp_path)
    assert reviewed(tmp_path) == {"a": "mel"}


def test_a_line_that_is_missing_is_named(tmp_path: Path) -> None:
    say(tmp_path, "a")
    say(tmp_path, "b")
    path = layout.review_history(tmp_path)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(DataError, match="expected entry 1, found entry 2"):
        review_log.read(tmp_path)


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [writer(tmp_path, name, 15) for name in ("ann", "ben")]
    told = [one.communicate(timeout=120)[0] for one in writers]
    assert [one.returncode for one in writers] == [0, 0]
    assert [len(one.splitlines()) for one in told] == [15, 15]
    assert len(review_log.read(tmp_path)) == len(reviewed(tmp_path)) == 30


@pytest.mark.parametrize("trials", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_label_that_was_acknowledged_survives_kill_9(tmp_path: Path, trials: int) -> None:
    """A writer is killed at another time in each trial."""
    noted: dict[str, str] = {}
    for trial in range(trials):
        process = writer(tmp_path, f"t{trial}", 100_000)
        assert process.stdout is not None
        noted |= dict([process.stdout.readline().split()[::-1]])
        time.sleep(0.002 * (trial % 23))
        os.kill(process.pid, signal.SIGKILL)
        noted |= dict(line.split()[::-1] for line in process.communicate()[0].splitlines() if line.endswith("\n"))
        entries = review_log.read(tmp_path)
        assert {image: str(entry.number) for entry in entries for image in entry.images}.items() >= noted.items()
    review_log.write_table(tmp_path)
    assert set(reviewed(tmp_path)) >= set(noted)


def writer(dataset: Path, who: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(dataset), who, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
