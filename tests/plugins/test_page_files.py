"""What the page gives of a version's files: known names of known versions, unable to act for whoever looks at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.plugins import models_folder
from tests.plugins.page_form import PAGE, form_of, send

from skinlesion.foundation import layout
from skinlesion.promotion.change_plan.document import write_record
from skinlesion.promotion.change_plan.record import ChangeRecord, Finding, PlanUsed
from skinlesion.registry.report_files import KNOWN
from skinlesion.registry.snapshot import Registry

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

SECRET = "nobody may read this"

TRAVERSALS = (
    "/versions/2/../../secret",
    "/versions/2/../3/report.html/../../../../secret",
    "/versions/2/..%2f..%2f..%2fsecret",
    "/versions/2/%2e%2e/%2e%2e/secret",
    "/versions/2/%2e%2e%2f%2e%2e%2fsecret",
    "/versions/2/%252e%252e%252fsecret",
    "/versions/2/..%5c..%5csecret",
    "/versions/2/....//....//secret",
    "/versions/2/report.html%00.png",
    "/versions/2/%2fetc%2fpasswd",
    "/versions/2//etc/passwd",
    "/versions/2/training.json",
    "/versions/2/model.keras",
    "/versions/2/.",
    "/versions/2/",
    "/versions/2/REPORT.HTML",
    "/versions/2/report.html/",
    "/versions/../../secret",
    "/versions/-1/report.html",
    "/versions/2e0/report.html",
    "/versions/99999999999999999999999/report.html",
    "/versions/second/report.html",
    "/../page.css",
    "/../../etc/passwd",
    "/static/../application.py",
    "/..%2fapplication.py",
    "/application.py",
    "/templates/models.html.j2",
)


def asked_as_it_is(app: FastAPI, path: str, cookie: str) -> tuple[int, bytes]:
    """Ask for a path that no client has put in order before; give status and content."""
    from urllib.parse import unquote

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"testserver"), (b"cookie", cookie.encode())],
        "client": ("testclient", 1), "server": ("testserver", 80), "state": {}, "extensions": {},
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("path", TRAVERSALS)
def test_what_is_no_known_file_of_a_known_version_is_not_found(
    airflow_app: FastAPI, token_of: Callable[[str], str], models: Path, path: str
) -> None:
    for folder in (models, models.parent, layout.candidates(models)):
        (folder / "secret").write_text(SECRET)
    status, content = asked_as_it_is(airflow_app, PAGE + path, f"_token={token_of('ada')}")
    assert status == 404
    assert SECRET.encode() not in content


@pytest.mark.parametrize(
    "file", ["../../secret", "..%2f..%2fsecret", "roc.png", "training.json", "nothing", "/etc/passwd"]
)
def test_the_frame_shows_nothing_else_either(ada: TestClient, models: Path, file: str) -> None:
    assert ada.get(f"{PAGE}/versions/2?file={file}").status_code == 404


def test_a_link_leads_nowhere(ada: TestClient, models: Path) -> None:
    secret = models.parent / "secret"
    secret.write_text(SECRET)
    folder = layout.candidate(models, "second")
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(secret)
    (folder / "metrics.json").unlink()
    assert ada.get(f"{PAGE}/versions/2/report.html").status_code == 404
    assert ada.get(f"{PAGE}/versions/2/metrics.json").status_code == 404


@pytest.mark.parametrize("run", ["..", "../..", "/etc", "../registry"])
def test_a_run_with_a_path_for_its_name_opens_no_other_folder(ada: TestClient, models: Path, run: str) -> None:
    for folder in (models, models.parent, layout.registry(models)):
        (folder / "report.html").write_text(SECRET)
    models_folder.renamed(models, 2, run)
    answer = ada.get(f"{PAGE}/versions/2/report.html")
    assert answer.status_code == 404
    assert SECRET not in ada.get(f"{PAGE}/versions/2").text


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("report.html", "text/html; charset=utf-8"),
        ("data_report.html", "text/html; charset=utf-8"),
        ("model_card.md", "text/html; charset=utf-8"),
        ("roc.png", "image/png"),
        ("metrics.json", "text/plain; charset=utf-8"),
        ("verdict.json", "text/plain; charset=utf-8"),
    ],
)
def test_a_file_comes_as_what_it_is_and_cannot_act(vic: TestClient, models: Path, name: str, media_type: str) -> None:
    answer = vic.get(f"{PAGE}/versions/2/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    directives = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    policy = {words[0]: words[1:] for words in directives}
    assert policy["default-src"] == ["'none'"]
    assert policy["form-action"] == ["'none'"]
    assert policy["img-src"] == ["data:"]
    assert policy["sandbox"] == ["allow-same-origin"]  # no script, form, window, download or navigation of the top
    assert not {"script-src", "connect-src", "frame-src", "object-src"} & set(policy)


def test_the_model_card_is_laid_out_and_its_own_html_is_text(vic: TestClient, models: Path) -> None:
    card = layout.candidate(models, "second") / "model_card.md"
    card.write_text(
        card.read_text() + "\n[here](javascript:alert(1)) <img src=x onerror=alert(1)> ![x](http://evil.example)\n"
    )
    page = vic.get(f"{PAGE}/versions/2/model_card.md").text
    assert "<h1>The model card</h1>" in page
    assert "<td>7</td>" in page
    assert "<script" not in page
    assert "<img" not in page
    assert 'href="javascript' not in page


def test_the_version_shows_what_is_left_of_its_files(vic: TestClient, models: Path) -> None:
    viewer, folder = vic, layout.candidate(models, "first")
    page = viewer.get(f"{PAGE}/versions/1").text
    for name in ("report.html", "data_report.html", "model_card.md", "metrics.json", "verdict.json"):
        assert f'href="?file={name}#documents"' in page
    for name in ("confusion_matrix.png", "roc.png", "reliability.png"):
        assert f'src="{PAGE}/versions/1/{name}"' in page
    assert f'<iframe sandbox="allow-same-origin" src="{PAGE}/versions/1/report.html"' in page
    card = viewer.get(f"{PAGE}/versions/1?file=model_card.md").text
    assert f'<iframe sandbox="allow-same-origin" src="{PAGE}/versions/1/model_card.md"' in card
    for name in KNOWN:
        (folder / name).unlink(missing_ok=True)
    page = viewer.get(f"{PAGE}/versions/1").text
    assert "Its reports were removed" in page
    assert "<iframe" not in page
    assert "<img" not in page


def record(models: Path) -> ChangeRecord:
    made = ChangeRecord(
        version=3,
        run="third",
        against=2,
        against_run="second",
        at="2026-07-01T03:00:00+00:00",
        plan=PlanUsed(digest="d1gest", path="change_plan.yaml", sentence="The plan of change_plan.yaml is in force."),
        findings=(Finding(kind="thresholds", title="Thresholds", inside=False, sentence="coverage is 0.9."),),
        outcome="passed",
    )
    write_record(made, Registry.read(models))
    return made


def test_the_change_record_is_among_the_reports_and_says_who_put_the_version_in_service(
    ada: TestClient, models: Path
) -> None:
    record(models)
    page = ada.get(f"{PAGE}/versions/3").text
    assert 'href="?file=change_record.html#documents"' in page
    assert f'href="{PAGE}/change_plan.html"' in page
    assert "coverage is 0.9." in ada.get(f"{PAGE}/versions/3/change_record.html").text
    assert send(ada, 3, form_of(ada, 3) | {"reason": "We read the report"}).status_code == 303
    assert "promoted by ada. We read the report" in ada.get(f"{PAGE}/versions/3/change_record.html").text


def test_the_change_plan_with_all_records_is_one_page_that_cannot_act(vic: TestClient, models: Path) -> None:
    record(models)
    answer = vic.get(f"{PAGE}/change_plan.html")
    assert answer.status_code == 200
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "coverage is 0.9." in answer.text
    assert "It was judged before there were records." in answer.text
