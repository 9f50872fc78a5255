"""What a failed task leaves for people: one sentence at the end of its log, in its run's note and on its run's tab. A night that
found nothing new says so in its note too.

The sentence is that of the error. The task's process puts it into an XCom before Airflow learns of the failure, and the
scheduler, which alone may write to the database, makes the note of it when the run has failed. The module is in plugins/, which
is on every component's path.
"""

from __future__ import annotations

import logging
import sys
import textwrap
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import ExceptionRetryPolicy, RetryAction

log = logging.getLogger(__name__)

FAILURE: Final = "failure"
"""Key of the XCom of a failed task: {"sentence": what was wrong, "remedy": what to do}."""

QUIET: Final = "quiet"
"""Key of the XCom of a night with nothing to do: what its note says."""

NOTHING_NEW: Final = (
    "**Skipped: nothing new.** One look at the labels, the images, the tables and the models showed that no stage has "
    "anything to do, and no version waits for a verdict, an answer or its place in service."
)

WIDTH: Final = 92
"""Columns of a log's line, which Airflow shows beside its list of tasks without scrolling."""

LONGEST_NOTE: Final = 1000
"""Characters that Airflow's database takes."""

FAILED: Final = "**Failed in"
"""How that part of a run's note begins which is made here; what a person wrote before it is kept."""


class RememberingPolicy(ExceptionRetryPolicy):
    """Airflow's policy. It is asked in the task's process before the failure is reported, so it keeps the sentence as well."""

    def evaluate(self, exception: BaseException, try_number: int, max_tries: int, context: Any = None) -> Any:
        """Return whether the task is tried again; keep what was wrong in the XCom `FAILURE`."""
        decision = super().evaluate(exception, try_number, max_tries, context)
        if context is not None:
            is_last = decision.action is RetryAction.FAIL or try_number > max_tries
            try:
                failure = {"sentence": sentence_of(exception), "remedy": remedy_for(exception, is_last)}
                context["ti"].xcom_push(FAILURE, failure)
            except Exception as error:
                log.warning("The run's note will not say why: %s", error)
        return decision


def hide_secrets(context: Mapping[str, Any]) -> None:
    """Let Airflow hide the secrets of the environment in all that the process of this task logs, tracebacks too."""
    from airflow.sdk.log import mask_secret

    from skinlesion.foundation.redaction import secrets_of_environment

    for secret in secrets_of_environment():
        mask_secret(secret)


def hide_tracebacks(context: Mapping[str, Any]) -> None:
    """Let the log of this task's process show an error that says all itself without its traceback."""
    import structlog

    processors = structlog.get_config()["processors"]  # the list that Airflow's own logger of the task reads
    if _without_traceback not in processors:
        processors.insert(0, _without_traceback)


def _without_traceback(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    error = sys.exc_info()[1]
    if event.get("exc_info") is True and error is not None and says_all(error):
        del event["exc_info"]
        event["event"] = f"Task failed with {type(error).__name__}"
    return event


def say_why(context: Mapping[str, Any]) -> None:
    """End the log of a task with what was wrong and what to do."""
    error = context.get("exception")
    if error is None:  # the process was killed, and another one reports it
        return
    ti = context["ti"]
    remedy = remedy_for(error, is_last=ti.state != "up_for_retry")
    log.info("::endgroup::")  # else the page shows the sentence only to those who open "Post Execute"
    log.error("%s failed.\n%s", ti.task_id, wrapped(f"{sentence_of(error)}\n{remedy}"))


def says_all(error: BaseException) -> bool:
    """Return whether an error is one of this project's own, whose sentence names cause and remedy."""
    return type(error).__module__.partition(".")[0] == "skinlesion"


def sentence_of(error: BaseException) -> str:
    """Return what was wrong: the error's own text, with the name of its type where the text alone says little.

    It goes into the log, an XCom, a note and notices, so it shows no secrets.
    """
    from skinlesion.foundation.redaction import without_secrets

    if says_all(error):
        return without_secrets(str(error))
    if isinstance(error, OSError) and error.strerror:
        return without_secrets(f"{error.strerror}{f': {error.filename}' if error.filename else ''}.")
    return without_secrets(f"{type(error).__name__}: {error}".removesuffix(": "))


def remedy_for(error: BaseException, is_last: bool) -> str:
    """Return what to do about a failed task. is_last: whether Airflow does not try it again."""
    from skinlesion.foundation.errors import DataError

    if isinstance(error, DataError):
        return "This was not tried again. Correct it, then clear the task: what was finished is kept."
    if is_last:
        return (
            "Airflow has tried it several times. When the cause is gone, clear the task: it goes on where it stopped."
        )
    return "Airflow tries it again after a while: it then goes on where it stopped."


def wrapped(text: str) -> str:
    """Return a text in lines that a screen shows whole; paths and addresses are not broken."""
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )


class Failure(NamedTuple):
    """What a failed task says.

    Attributes:
        task_id: of the task.
        sentence: what was wrong.
        remedy: what to do.
        at: when it failed.
    """

    task_id: str
    sentence: str
    remedy: str
    at: datetime


class RunNotes:
    """What the scheduler does when the state of a run changes."""

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """Say in the run's note what was wrong."""
        session = _session_of(dag_run)
        if session is not None and (failure := failure_of_run(dag_run.dag_id, dag_run.run_id, session)) is not None:
            dag_run.note = note_with_failure(dag_run.note, failure)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        """Say in the run's note that nothing was new, where all but the look was skipped."""
        session = _session_of(dag_run)
        said = session and last_said(dag_run.dag_id, dag_run.run_id, QUIET, session)
        if said is not None and NOTHING_NEW not in (dag_run.note or ""):
            dag_run.note = "\n\n".join(filter(None, (dag_run.note, NOTHING_NEW)))[:LONGEST_NOTE]

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        """Remove from the note of a run that goes on what was wrong before."""
        if _is_ours(dag_run) and dag_run.note and FAILED in dag_run.note:
            dag_run.note = dag_run.note.partition(FAILED)[0].rstrip()


def note_with_failure(note: str | None, failure: Failure) -> str:
    """Return a note, Markdown, with what was wrong under what a person wrote there, as long as Airflow takes."""
    before = (note or "").partition(FAILED)[0].rstrip()
    found = f"{FAILED} {failure.task_id}.** " + failure.sentence.replace("\n", "\n\n")
    room = LONGEST_NOTE - len(failure.remedy) - 2 - (len(before) + 2 if before else 0)
    if len(found) > room:
        more = f" … (the rest: in the log of {failure.task_id})"
        found = found[: max(0, room - len(more))].rstrip() + more
    return "\n\n".join(filter(None, (before, found, failure.remedy)))[:LONGEST_NOTE]


def failure_of_run(dag_id: str, run_id: str, session: Any) -> Failure | None:
    """Return what the task of a run says that failed last; None where none has said anything."""
    found = last_said(dag_id, run_id, FAILURE, session)
    return found and Failure(found[0], found[1]["sentence"], found[1]["remedy"], found[2])


def last_said(dag_id: str, run_id: str, key: str, session: Any) -> tuple[str, Any, datetime] | None:
    """Return the newest XCom of a run under a key: its task, its value and its time; None where there is none."""
    from airflow.models.xcom import XComModel

    query = XComModel.get_many(run_id=run_id, dag_ids=dag_id, key=key, limit=None)
    found = max(session.scalars(query), key=lambda row: row.timestamp, default=None)
    return None if found is None else (found.task_id, XComModel.deserialize_value(found), found.timestamp)


def _session_of(dag_run: Any) -> Any:
    """Return the session of a run of ours; None for another's, and for `airflow dags test`, whose run no page shows."""
    from sqlalchemy.orm import object_session

    return object_session(dag_run) if _is_ours(dag_run) else None


def _is_ours(dag_run: Any) -> bool:
    return bool(dag_run.dag_id.startswith("skin_lesion_"))


class SkinLesionFailure(AirflowPlugin):
    """Say in the note of a failed run what was wrong."""

    name = "skin_lesion_failure"
    listeners = [RunNotes()]  # noqa: RUF012
