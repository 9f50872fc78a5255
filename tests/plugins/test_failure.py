"""What a failed task leaves for people."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from skin_lesion_dag_settings import TASK_DEFAULTS
from skin_lesion_failure import LONGEST_NOTE, Failure, RememberingPolicy, RunNotes, note_with_failure, say_why
from skinlesion.foundation.errors import DataError, LeakError
from skinlesion.foundation.lock import DatasetBusy

NOW = datetime(2026, 11, 29, 2, tzinfo=UTC)
FULL_DISK = OSError(28, "No space left on device", "/data/x")
BAD_TABLE = "diagnoses.csv, row 3: expected a word that docs/reference/labels.md lists, found `nevus?`."


@pytest.mark.parametrize(
    ("error", "state", "sentence", "remedy"),
    [
        (DataError(BAD_TABLE), "failed", BAD_TABLE, "Correct it"),
        (LeakError("A lesion is on both sides."), "failed", "A lesion is on both sides.", "Correct it"),
        (DatasetBusy("Another process works on it."), "up_for_retry", "Another process works on it.", "tries it again"),
        (FULL_DISK, "failed", "No space left on device: /data/x.", "When the cause is gone"),
        (OSError("of no number"), "up_for_retry", "OSError: of no number", "tries it again"),
        (RuntimeError(), "failed", "RuntimeError", "When the cause is gone"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_log_ends_with_the_sentence_and_the_remedy(
    error: Exception, state: str, sentence: str, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "skin_lesion_failure"):
        say_why({"exception": error, "ti": SimpleNamespace(task_id="train", state=state)})
    end_of_group, said = caplog.records
    assert end_of_group.getMessage() == "::endgroup::"
    assert said.levelno == logging.ERROR
    assert said.getMessage().startswith(f"train failed.\n{sentence}\n")
    assert remedy in said.getMessage()


def test_a_long_sentence_is_wrapped_and_no_path_is_broken(caplog: pytest.LogCaptureFixture) -> None:
    path = "/data/" + "x" * 120 + "/diagnoses.csv"
    error = DataError(f"{'The table is wrong. ' * 9}{path}")
    say_why({"exception": error, "ti": SimpleNamespace(task_id="ingest", state="failed")})
    lines = caplog.records[-1].getMessage().splitlines()
    assert path in (line.strip() for line in lines)
    assert all(len(line) <= 92 for line in lines if path not in line)


def test_a_task_whose_process_was_killed_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    say_why({"ti": SimpleNamespace(task_id="train")})
    assert caplog.records == []


def test_a_note_keeps_what_a_person_wrote_and_what_to_do_and_fits() -> None:
    long = Failure("ingest", "ISIC_0024306 is wrong. " * 100, "Correct it, then clear the task.", NOW)
    note = note_with_failure("Look at this, Grace.", long)
    assert note.startswith("Look at this, Grace.\n\n**Failed in ingest.** ISIC_0024306 is wrong.")
    assert note.endswith("… (the rest: in the log of ingest)\n\nCorrect it, then clear the task.")
    assert len(note) <= LONGEST_NOTE
    assert len(note_with_failure("x" * LONGEST_NOTE, long)) == LONGEST_NOTE


def test_a_run_that_fails_again_has_the_latest_sentence_alone() -> None:
    first = note_with_failure("Mine.", Failure("collect", "First.", "Do it.", NOW))
    assert note_with_failure(first, Failure("train", "Second.", "Do that.", NOW)) == (
        "Mine.\n\n**Failed in train.** Second.\n\nDo that."
    )


@pytest.mark.parametrize(
    ("before", "after"), [("Mine.\n\n**Failed in train.** No.\n\nDo.", "Mine."), ("Mine.", "Mine.")]
)
def test_a_run_that_goes_on_loses_the_note_of_its_failure(before: str, after: str) -> None:
    run = SimpleNamespace(dag_id="skin_lesion_retrain", run_id="manual__1", note=before)
    RunNotes().on_dag_run_running(run, "")
    assert run.note == after


def test_the_runs_of_other_dags_are_left_alone() -> None:
    run: Any = SimpleNamespace(dag_id="another", run_id="manual__1", note="**Failed in")
    RunNotes().on_dag_run_failed(run, "")
    RunNotes().on_dag_run_running(run, "")
    assert run.note == "**Failed in"


def test_a_sentence_that_cannot_be_kept_changes_nothing_about_the_retry(caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: Any) -> None:
        raise ConnectionError("no API server")

    policy = RememberingPolicy(rules=[])
    decision = policy.evaluate(DataError("x"), 1, 3, {"ti": SimpleNamespace(xcom_push=broken)})
    assert decision.action.value == "default"
    assert "no API server" in caplog.text


def kept_of(error: Exception, try_number: int = 1) -> dict[str, str]:
    """Return what is kept of an error at this of three attempts."""
    kept: dict[str, Any] = {}
    policy: Any = TASK_DEFAULTS["retry_policy"]
    policy.evaluate(error, try_number, 3, {"ti": SimpleNamespace(xcom_push=kept.__setitem__)})
    return dict(kept["failure"])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("API request to http://admin:s3cr3t-word@mlflow:5000/api failed"),
        OSError("https://host/a.jpg?X-Amz-Signature=s3cr3t-word does not answer"),
        OSError(5, "Input/output error", "https://me:s3cr3t-word@host/a"),
        DataError("postgresql://airflow:s3cr3t-word@postgres is no address"),
        RuntimeError("the store does not know key-of-the-environment s3cr3t-word"),
    ],
)
def test_what_is_kept_of_an_error_holds_no_secret(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost otherwise: the XCom, the note and the notice of a failed run, which every viewer reads, give the password away."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-word")
    sentence = kept_of(error)["sentence"]
    assert len(sentence) > 20
    assert "s3cr3t-word" not in sentence


def test_airflow_hides_the_secrets_of_the_environment_in_a_tasks_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk._shared.secrets_masker import redact

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t-of-the-store")
    assert redact("it says s3cr3t-of-the-store") == "it says s3cr3t-of-the-store"
    for called in TASK_DEFAULTS["on_execute_callback"]:
        called({})
    assert redact("it says s3cr3t-of-the-store") == "it says ***"


@pytest.mark.parametrize(
    ("error", "try_number", "remedy"),
    [
        (DataError("x"), 1, "Correct it"),
        (OSError("x"), 1, "tries it again"),
        (OSError("x"), 4, "When the cause is gone"),
    ],
)
def test_the_sentence_is_kept_with_what_is_to_be_done_now(error: Exception, try_number: int, remedy: str) -> None:
    assert remedy in kept_of(error, try_number)["remedy"]
