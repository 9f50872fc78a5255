"""What a run shows in a terminal of 80 columns, and what it writes to a pipe."""

from __future__ import annotations

import logging
from io import StringIO

import pytest
from rich.console import Console

from skinlesion.command_line.display import Display
from skinlesion.foundation import progress as progress_module
from skinlesion.foundation.progress import progress
from skinlesion.foundation.stage_report import StageReport

LONG = "Version 1 does not pass the gate, with no other version in service: Malignant AUROC is 0.560; at least 0.8 is asked for."


def terminal(width: int = 80) -> Console:
    return Console(file=StringIO(), force_terminal=True, width=width, color_system=None, _environ={"TERM": "xterm"})


def written(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@pytest.fixture
def pipe() -> Console:
    return Console(file=StringIO(), force_terminal=False, width=80)


def test_a_terminal_breaks_sentences_between_words_and_cuts_nothing() -> None:
    console = terminal()
    display = Display(console)
    display.begin("gate")
    display.finish_with(LONG)
    display.pairs({"The gate": LONG, "Report": "/a/" + "long/" * 30 + "report.html"})
    lines = written(console).splitlines()
    assert " ".join(written(console).split()).count(LONG) == 2
    assert "/a/" + "long/" * 30 + "report.html" in lines[-1]
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[1].startswith(" " * 19), "the second line of a sentence stands below its first"


def test_a_pipe_gets_one_line_for_a_stage(pipe: Console) -> None:
    with Display(pipe) as display:
        display.begin("gate")
        display.finish_with(LONG)
    (line,) = written(pipe).splitlines()
    assert line.split(maxsplit=3) == ["gate", "0.0", "s", LONG]


def test_a_terminal_shows_how_much_of_a_stage_is_done() -> None:
    console = terminal()
    with Display(console) as display:
        display.begin("embed")
        with progress("embed", 40) as advance:
            advance(13)
            assert display._live is not None
            display._live.refresh()
        display.finish(StageReport(stage="build", seen=1, done=1, skipped=0, seconds=1, details={"weights": "random"}))
    assert "13 of 40 images" in written(console)
    assert "The untrained model was built with random weights." in written(console)


def test_a_pipe_gets_a_line_now_and_then(pipe: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0)
    log = logging.getLogger("skinlesion")
    monkeypatch.setattr(log, "level", logging.INFO)
    with Display(pipe) as display:
        log.addHandler(display)
        with progress("tail", 16, unit="epochs") as advance:
            advance(3)
        log.removeHandler(display)
    assert written(pipe).splitlines() == ["  tail: 3 of 16 epochs"]


def test_the_log_stands_between_the_stages(pipe: Console) -> None:
    log = logging.getLogger("skinlesion.test")
    log.setLevel(logging.INFO)
    with Display(pipe) as display:
        log.addHandler(display)
        display.begin("train")
        log.info("epoch 1 of 2: loss 0.500")
        log.warning("[Only 4] lesions are held out")
        display.stop()
        log.removeHandler(display)
    assert written(pipe).splitlines()[:2] == ["  epoch 1 of 2: loss 0.500", "  Note: [Only 4] lesions are held out"]
    assert written(pipe).splitlines()[2].endswith("did not finish.")


def test_a_watcher_is_forgotten_when_it_leaves(pipe: Console, caplog: pytest.LogCaptureFixture) -> None:
    with Display(pipe):
        pass
    with progress("embed", 2) as advance:
        advance(1)
    assert written(pipe) == ""
