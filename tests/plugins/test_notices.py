"""What people are told, with the contexts that Airflow 3.3 gives; a notice that raises tells nobody anything."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

import skin_lesion_notices
from skin_lesion_notices import deadline_missed, gate_lost, promoted, run_failed, superseded

RUN, DAG = "scheduled__2026-07-01T02:00:00+00:00", "skin_lesion_retrain"
NIGHT = f"The nightly run of 2026-07-01 ({DAG}, {RUN})"


class DatabaseRun:
    """A run whose database session is closed: all but its own columns raises."""

    run_id, dag_id = RUN, DAG

    def get_task_instances(self) -> list[Any]:
        raise RuntimeError("not bound to a session")


FAILED = {
    "with the task's context": (
        {
            "dag": SimpleNamespace(dag_id=DAG),
            "dag_run": SimpleNamespace(run_id=RUN, dag_id=DAG),
            "run_id": RUN,
            "ti": SimpleNamespace(task_id="embed", map_index=2),
            "reason": "task_failure",
        },
        f"{NIGHT} failed in embed (task_failure). ",
    ),
    "without a task": (
        {"dag": SimpleNamespace(dag_id=DAG), "run_id": RUN, "reason": "timed_out"},
        f"{NIGHT} failed (timed_out). ",
    ),
    "with the run as a record": ({"dag_run": SimpleNamespace(run_id=RUN, dag_id=DAG)}, f"{NIGHT} failed. "),
    "with the database's run": ({"dag_run": DatabaseRun(), "ti": None}, f"{NIGHT} failed. "),
    "with nothing": ({}, "A run of (unknown) failed. "),
    "with no run": ({"dag": None, "dag_run": None, "run_id": None}, "A run of (unknown) failed. "),
}

LATE = {
    "as the executor calls it": (
        {
            "context": {
                "dag_run": {"dag_run_id": RUN, "dag_id": DAG, "state": "running", "logical_date": None, "conf": {}},
                "deadline": {"id": "01a20adf-f86f-7f49-a2b7-3c0af358b291", "deadline_time": "2026-07-01T10:00:00Z"},
            }
        },
        f"{NIGHT} is late: ",
    ),
    "with an empty context": ({"context": {}}, "A run of (unknown) is late: "),
    "without a run": ({"context": {"dag_run": None}}, "A run of (unknown) is late: "),
    "without a context": ({}, "A run of (unknown) is late: "),
}


def only_sentence(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    return record.getMessage()


@pytest.mark.parametrize(("context", "begins"), FAILED.values(), ids=FAILED)
def test_a_failed_run_is_named_with_what_to_do(
    context: dict[str, Any], begins: str, caplog: pytest.LogCaptureFixture
) -> None:
    run_failed(context)
    sentence = only_sentence(caplog)
    assert sentence.startswith(begins)
    assert "clear the failed task" in sentence
    assert "The model in service has not changed" in sentence


def test_the_notice_of_a_failed_run_says_why(caplog: pytest.LogCaptureFixture) -> None:
    said = {"sentence": "The column dx is missing.", "remedy": "Correct it, then clear the task."}
    kept = {("ingest", "failure", -1): said}
    ti = SimpleNamespace(
        task_id="ingest", map_index=-1, xcom_pull=lambda task_ids, key, map_indexes: kept[task_ids, key, map_indexes]
    )
    run_failed({"dag": SimpleNamespace(dag_id=DAG), "run_id": RUN, "ti": ti, "reason": "task_failure"})
    assert only_sentence(caplog) == (
        f"{NIGHT} failed in ingest (task_failure). The column dx is missing. Correct it, then clear the task. The model in "
        "service has not changed."
    )


@pytest.mark.parametrize(("arguments", "begins"), LATE.values(), ids=LATE)
def test_a_late_run_is_named_with_what_to_do(
    arguments: dict[str, Any], begins: str, caplog: pytest.LogCaptureFixture
) -> None:
    deadline_missed(**arguments)
    sentence = only_sentence(caplog)
    assert sentence.startswith(begins)
    assert "log" in sentence


def test_the_executor_finds_the_callback_of_the_deadline_by_its_path() -> None:
    # Airflow alone puts plugins/ on the path there, as it does in the executor's process.
    script = (
        "import logging, sys\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "import airflow.settings\n"
        "from airflow.sdk.execution_time.callback_supervisor import execute_callback, log\n"
        f"context = {{'dag_run': {{'dag_run_id': {RUN!r}, 'dag_id': {DAG!r}}}, 'deadline': {{'id': '1'}}}}\n"
        "path = 'skin_lesion_notices.deadline_missed'\n"
        "print('outcome:', execute_callback(path, {'context': context}, 'skin_lesion_retrain.py', None, log))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "outcome: (True, None)" in done.stdout, done.stdout + done.stderr
    assert f"{NIGHT} is late" in done.stdout + done.stderr


# --- Where they go ----------------------------------------------------------------------------------------------------

LINK = "http://localhost:8080/skin-lesion-models/versions/7/report.html"


class Webhook:
    """A server on this machine that keeps what is posted."""

    def __init__(self, status: int) -> None:
        self.posted: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        kept = self.posted

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                kept.append((self.path, dict(self.headers), json.loads(content)))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


@pytest.fixture
def webhook(request: pytest.FixtureRequest) -> Iterator[Webhook]:
    hook = Webhook(getattr(request, "param", 200))
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that gives Airflow a connection of this kind, http or smtp."""
    from airflow.sdk import Connection

    there: dict[str, Connection] = {}
    monkeypatch.setattr(skin_lesion_notices, "_connection", there.get)

    def connect(kind: str, **values: Any) -> None:
        name = {"http": "skin_lesion_webhook", "smtp": "skin_lesion_smtp"}[kind]
        there[name] = Connection(conn_id=name, conn_type=kind, **values)

    return connect


def test_without_a_connection_a_notice_is_logged_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "skin_lesion_notices"):
        gate_lost("Version 7 does not pass the gate: AUROC is 0.7.", 7, LINK)
    (record,) = [record for record in caplog.records if record.name == "skin_lesion_notices"]
    assert record.levelno == logging.INFO
    for said in ("AUROC is 0.7.", "The model in service stays", LINK, "skinlesion models promote 7 --reason"):
        assert said in record.getMessage()


@pytest.mark.parametrize(
    ("tell", "event"),
    [
        (lambda: gate_lost("It lost.", 7, LINK), "gate_lost"),
        (lambda: promoted("It passed.", LINK), "promoted"),
        (lambda: superseded("Another came first.", LINK), "superseded"),
        (lambda: run_failed({"run_id": RUN, "dag": SimpleNamespace(dag_id=DAG)}), "failed"),
        (lambda: deadline_missed({"dag_run": {"dag_run_id": RUN, "dag_id": DAG}}), "late"),
    ],
)
def test_each_notice_is_posted_to_the_webhook(
    webhook: Webhook, connect: Callable[..., None], tell: Callable[[], None], event: str
) -> None:
    path = json.dumps({"path": "/in"})
    connect("http", host="127.0.0.1", schema="http", port=webhook.port, password="word", extra=path)
    tell()
    ((path, headers, notice),) = webhook.posted
    assert path == "/in"
    assert headers["Authorization"] == "Bearer word"
    assert notice["event"] == event
    assert set(notice) == {"event", "subject", "text"}
    assert notice["text"]


SECRET = "T024BE7LD/B01/s3cr3t-path"
AWAY = "127.0.0.1:1"
WEBHOOKS = {
    "an error": (500, {"host": "http://{here}/services/" + SECRET}, "http://{here} answers 500 Internal Server Error"),
    "a success": (200, {"host": "http://{here}/services/" + SECRET}, None),
    "without a scheme": (404, {"host": "{here}/services/" + SECRET, "schema": "http"}, "http://{here} answers 404 Not Found"),
    "with a path in its extra": (
        403, {"host": "{here}", "schema": "http", "extra": json.dumps({"path": f"/services/{SECRET}"})},
        "http://{here} answers 403 Forbidden",
    ),
    "with a user": (401, {"host": "http://me:" + SECRET[-11:] + "@{here}/in"}, "http://{here} answers 401 Unauthorized"),
    "with a token": (401, {"host": "http://{here}/in?token=" + SECRET}, "http://{here} answers 401 Unauthorized"),
    "that is away": (500, {"host": f"http://{AWAY}/{SECRET}"}, f"http://{AWAY} cannot be reached (ConnectError: "),
    "of another kind": (500, {"host": f"htps://{AWAY}/{SECRET}"}, f"htps://{AWAY} cannot be reached (UnsupportedProtocol"),
    "that is no address": (500, {"host": f"http://[::1/{SECRET}"}, "its address cannot be read"),
    "with no port": (500, {"host": f"http://host:{SECRET}/in"}, "its address cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("webhook", "connection", "said"), WEBHOOKS.values(), ids=WEBHOOKS, indirect=["webhook"])
def test_no_part_of_a_webhooks_address_but_scheme_and_host_is_logged(
    webhook: Webhook,
    connect: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    connection: dict[str, Any],
    said: str | None,
) -> None:
    """Lost otherwise: who reads the log posts in the hospital's channel, because with Slack and Teams the path is the key."""
    here = f"127.0.0.1:{webhook.port}"
    connection = connection | {"host": connection["host"].replace("{here}", here)}
    connect("http", **connection)
    with caplog.at_level(logging.DEBUG):
        promoted("It passed.", LINK)
    assert bool(webhook.posted) == (said is None or "answers" in said)
    logged = "\n".join([caplog.text, *(str(record.__dict__) for record in caplog.records)])
    for part in (SECRET, *SECRET.split("/")[::2], "/services/"):
        assert part not in logged
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (said is not None)
    assert (said or "").replace("{here}", here) in "".join(warnings)


def test_a_connection_that_cannot_be_read_is_not_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(name: str) -> None:
        raise ValueError(f"no connection: https://hooks.example.org/services/{SECRET}")

    monkeypatch.setattr(skin_lesion_notices, "_connection", unreadable)
    promoted("It passed.", LINK)
    assert SECRET not in caplog.text
    assert "ValueError: no connection: https://hooks.example.org" in caplog.text


@pytest.mark.parametrize("webhook", [500], indirect=True)
def test_a_webhook_that_fails_ends_no_run_and_stops_no_mail(
    webhook: Webhook, connect: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    sent: list[dict[str, Any]] = []
    monkeypatch.setattr(SmtpHook, "__enter__", lambda self: self)
    monkeypatch.setattr(SmtpHook, "__exit__", lambda *_: None)
    monkeypatch.setattr(SmtpHook, "from_email", "airflow@example.org")
    monkeypatch.setattr(SmtpHook, "send_email_smtp", lambda self, **mail: sent.append(mail))
    connect("http", host=f"http://127.0.0.1:{webhook.port}/in")
    connect("smtp", host="localhost", extra=json.dumps({"to": "ann@example.org"}))
    promoted("Version <7> passes the gate.", LINK)
    ((mail),) = sent
    assert (mail["to"], mail["from_email"]) == ("ann@example.org", "airflow@example.org")
    assert mail["subject"] == "Another skin-lesion classifier is in service"
    assert "Version &lt;7&gt; passes the gate." in mail["html_content"]
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "was not sent by skin_lesion_webhook" in warning.getMessage()
