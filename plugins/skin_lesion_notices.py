"""Notices to people: a run failed or is late, a candidate did not pass the gate or came into service.

Every notice is logged. It is sent as well if there is a connection for it: `skin_lesion_smtp` (type smtp; `to` and
`from_email` in its extra) for e-mail, `skin_lesion_webhook` (type http) for JSON. The module is in plugins/, which is on every
component's path.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

SMTP, WEBHOOK = "skin_lesion_smtp", "skin_lesion_webhook"


def run_failed(context: Mapping[str, Any]) -> None:
    """Notify people which run failed, in which task, and what to do.

    The DAG processor calls it with the context of the task that failed last, or with `dag`, `run_id` and `reason` alone
    where there is none. Reasons: `task_failure`, `timed_out`, `all_tasks_deadlocked`.
    """
    run, ti = context.get("dag_run"), context.get("ti")
    task_id, reason = getattr(ti, "task_id", None), context.get("reason")
    dag_id = getattr(context.get("dag") or run, "dag_id", "(unknown)")
    tell(
        "failed",
        f"{dag_id} failed",
        f"{_run(dag_id, context.get('run_id') or getattr(run, 'run_id', None))} failed"
        f"{f' in {task_id}' if task_id else ''}{f' ({reason})' if reason else ''}. {_why(ti)} The model in service "
        f"{IN_SERVICE.get(dag_id, 'has not changed')}.",
        level=logging.ERROR,
    )


def _why(ti: Any) -> str:
    """Return what a task that failed says of it, else where to look."""
    try:
        failure = ti.xcom_pull(task_ids=ti.task_id, key="failure", map_indexes=ti.map_index)  # see skin_lesion_failure
        return f"{failure['sentence']} {failure['remedy']}"
    except Exception:  # no task failed, its process was killed, or Airflow gives no XCom here
        return "What was finished is kept: correct the cause that the task's log names, then clear the failed task."


IN_SERVICE = {"skin_lesion_promote": "is the one before or the one that passed, never a mixture"}


def deadline_missed(context: Mapping[str, Any] | None = None) -> None:
    """Notify people that a run takes longer than it ever should.

    A process of the executor calls it with `context={"dag_run": ..., "deadline": ...}`: the run as the REST API gives it.
    """
    run = (context or {}).get("dag_run") or {}
    dag_id = run.get("dag_id", "(unknown)")
    tell(
        "late",
        f"{dag_id} is late",
        f"{_run(dag_id, run.get('dag_run_id'))} is late: look at its running task's log. A first run on a "
        "large data set may need a larger deadline.",
        level=logging.ERROR,
    )


def _run(dag_id: str, run_id: str | None) -> str:
    """Return the beginning of a sentence about a run: in words, and as Airflow names it."""
    from skinlesion.foundation.run_names import run_in_words

    if run_id is None:
        return f"A run of {dag_id}"
    words = run_in_words(run_id)
    return f"{words[0].upper()}{words[1:]} ({dag_id}, {run_id})"


def gate_lost(sentence: str, version: int, link: str) -> None:
    """Notify people that a candidate did not pass the gate, why, and that nothing has to be repaired at once."""
    tell(
        "gate_lost",
        f"Version {version} of the skin-lesion classifier did not pass",
        f"{sentence} The model in service stays; the run itself succeeded. See the report ({link}). To put it in "
        f"service nevertheless: skinlesion models promote {version} --reason ...",
    )


def promoted(sentence: str, link: str) -> None:
    """Notify people that a version came into service."""
    tell(
        "promoted",
        "Another skin-lesion classifier is in service",
        f"{sentence} It is in service now: {link}. To go back: skinlesion models rollback --reason ...",
    )


def superseded(sentence: str, link: str) -> None:
    """Notify people that a version that had passed was not put in service, because another came first."""
    tell("superseded", "A version of the skin-lesion classifier was not put in service", f"{sentence} {link}")


def in_use(sentence: str, remedy: str, link: str) -> None:
    """Notify people that what the model in use sees or says is not what it was measured on, and what to do."""
    tell("in_use", "The skin-lesion classifier in use: an alarm", f"{sentence} {remedy} {link}", level=logging.WARNING)


def tell(event: str, subject: str, text: str, *, level: int = logging.INFO) -> None:
    """Log a notice, and send it by each connection there is. A notice that cannot be sent is logged and never ends a run."""
    log.log(level, "%s", text)
    for connection_id, send in ((SMTP, _send_mail), (WEBHOOK, _send_webhook)):
        try:
            connection = _connection(connection_id)
            if connection is not None:
                send(connection, event, subject, text)
        except Exception as error:
            log.warning("The notice was not sent by %s: %s", connection_id, _why_not(error))


def _why_not(error: Exception) -> str:
    from skinlesion.foundation.redaction import without_secrets

    return without_secrets(f"{type(error).__name__}: {error}", paths=False)


def _connection(connection_id: str) -> Any:
    """Return the connection; None if there is none, or if this process cannot ask for one."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowException

    try:
        return Connection.get(connection_id)
    except (AirflowException, ImportError):
        return None


def _send_mail(connection: Any, event: str, subject: str, text: str) -> None:
    from html import escape

    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    to = connection.extra_dejson.get("to") or connection.extra_dejson.get("from_email")
    SmtpNotifier(to=to, subject=subject, html_content=f"<p>{escape(text)}</p>", smtp_conn_id=connection.conn_id)({})


class NotSent(Exception):
    """Why a notice was not sent. `tell` logs of the address in it scheme and host alone: with Slack and Teams the path is the secret."""


def _send_webhook(connection: Any, event: str, subject: str, text: str) -> None:
    """Post a notice as JSON, what most chat servers take as a message; raise NotSent where that fails.

    The address is schema://host:port/path, or `host` alone if that is a whole address. A password is sent as a bearer token.
    """
    import httpx

    for chatty in ("httpx", "httpcore"):  # which write each address to the log
        logging.getLogger(chatty).setLevel(logging.WARNING)
    address = connection.host or ""
    if "://" not in address:
        port = f":{connection.port}" if connection.port else ""
        address = f"{connection.schema or 'https'}://{address}{port}{connection.extra_dejson.get('path', '')}"
    headers = {"Authorization": f"Bearer {connection.password}"} if connection.password else {}
    notice = {"event": event, "subject": subject, "text": text}
    try:
        answer = httpx.post(address, json=notice, headers=headers, timeout=10.0)
    except httpx.TransportError as error:
        raise NotSent(f"{address} cannot be reached ({type(error).__name__}: {error})") from None
    except Exception as error:  # its text has parts of the address
        raise NotSent(f"its address cannot be read ({type(error).__name__})") from None
    if not answer.is_success:
        raise NotSent(f"{address} answers {answer.status_code} {answer.reason_phrase}")
