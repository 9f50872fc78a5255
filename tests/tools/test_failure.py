"""What a person is told of the error that ended a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.failure import RunFailed, failure_of

from skinlesion.foundation.errors import DataError
from skinlesion.network.backbone import WeightsUnavailable


def told(error: BaseException, tmp_path: Path) -> tuple[int, str]:
    failure = failure_of(error, again="`make run`", folders=[tmp_path / "not" / "there"])
    return failure.status, failure.text


def test_wrong_data_are_told_whole(tmp_path: Path) -> None:
    text = "The data did not pass a check.\nAll rows: data_report_failed.csv; with images: data_report_failed.html."
    assert told(DataError(text), tmp_path) == (2, text)


def from_sqlite() -> BaseException:
    error = RuntimeError("This session is in 'prepared' state")
    error.__cause__ = RuntimeError("(sqlite3.OperationalError) database or disk is full\n[SQL: INSERT (a) VALUES (?)]")
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (OSError(28, "No space left on device", "/x/y"), "[Errno 28] No space left on device: '/x/y'"),
        (
            OSError("Can't close file (time = Sun\n, errno = 28, error message = 'No space left on device')"),
            "Can't close",
        ),
        (
            OSError("Not enough free space to write 39 bytes after offset 128"),
            "Not enough free space to write 39 bytes",
        ),
        (from_sqlite(), "(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_named_with_its_cause_and_what_to_do(error: BaseException, cause: str, tmp_path: Path) -> None:
    status, text = told(error, tmp_path)
    assert status == 3
    assert f"The disk that holds {tmp_path} is full: " in text
    assert f"({cause}" in text
    assert "Make room there" in text
    assert "`make run`" in text
    assert "\n" not in text


def test_the_machine_is_told_apart_from_the_program(tmp_path: Path) -> None:
    status, text = told(WeightsUnavailable("They cannot be downloaded. Put the file at X."), tmp_path)
    assert (status, text) == (
        3,
        "They cannot be downloaded. Put the file at X. What was finished is kept: run `make run` again when the cause is gone.",
    )
    status, text = told(KeyError("loss"), tmp_path)
    assert status == 1
    assert "KeyError: 'loss'" in text
    assert told(RunFailed("No DAG"), tmp_path)[0] == 1


def test_a_stop_says_how_to_go_on(tmp_path: Path) -> None:
    said = "Stopped. What was finished is kept: run `make run` again to go on."
    assert told(KeyboardInterrupt(), tmp_path) == (130, said)
