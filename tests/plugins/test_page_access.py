"""Who may read the page, and who may change what is in service: with Airflow's own application, login and roles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.measured import known
from tests.plugins.page_form import FROM_THE_PAGE, PAGE, BrowserOf, form_of, send

from skinlesion.registry import history, in_service

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

READABLE = {
    "/": 200,
    "/?page=7": 200,
    "/versions/2": 200,
    "/versions/2?file=model_card.md": 200,
    "/versions/2/report.html": 200,
    "/versions/2/roc.png": 200,
    "/history": 200,
    "/in-use": 200,
    "/change_plan.html": 200,
    "/compare?first=1&second=9": 404,
    "/run?dag_id=skin_lesion_retrain&run_id=x": 200,
    "/page.css": 200,
    "/mode.js": 200,
    "/own_page.js": 200,
    "/data_report_failed.html": 404,
    "/versions/9": 404,
    "/docs": 404,
    "/openapi.json": 404,
    "/nothing": 404,
}
BY_NOBODY = {
    "no login": ({}, 401),
    # A browser sends no cookie of this machine's own name to it (DNS rebinding)
    "a name that only resolves to this machine": ({"host": "evil.example", "origin": "http://evil.example"}, 401),
    "a login that Airflow did not give": ({"cookie": "_token=e30.e30.e30"}, 403),
    "a bearer token that Airflow did not give": ({"authorization": "Bearer e30.e30.e30"}, 403),
    "a password": ({"authorization": "Basic YWRhOmFkYQ=="}, 401),
}
FORGED = {
    "from another site": {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    "from another site, in an old browser": {"origin": "https://evil.example"},
    "from a sibling domain": {"origin": "http://evil.testserver", "sec-fetch-site": "same-site"},
    "from another port": {"origin": "http://testserver:81", "sec-fetch-site": "same-site"},
    "from a sandboxed frame": {"origin": "null", "sec-fetch-site": "cross-site"},
    "from a sandboxed frame, in an old browser": {"origin": "null"},
    "with another site's origin alone": {"origin": "https://evil.example", "sec-fetch-site": "same-origin"},
    "from nowhere": {},
    "with a referrer that begins alike": {"origin": "http://testserver.evil.example"},
}


@pytest.fixture
def unchanged(models: Path) -> Callable[[], bool]:
    """Return whether the same is in service, with the same history, as before."""

    def state() -> tuple[object, ...]:
        return in_service.read(models), tuple(history.lines(models).all())

    before = state()
    return lambda: state() == before


@pytest.mark.parametrize("path", READABLE)
def test_nobody_reads_without_a_login(nobody: TestClient, models: Path, path: str) -> None:
    answer = nobody.get(PAGE + path)
    assert answer.status_code == 401
    assert "second" not in answer.text


@pytest.mark.parametrize(("headers", "status"), BY_NOBODY.values(), ids=BY_NOBODY)
def test_what_is_no_login_opens_nothing(
    nobody: TestClient, unchanged: Callable[[], bool], headers: dict[str, str], status: int
) -> None:
    assert nobody.get(f"{PAGE}/", headers=headers).status_code == status
    form = {"reason": "because", "instead_of": "2"}
    assert send(nobody, 1, form, FROM_THE_PAGE | headers).status_code == status
    assert unchanged()


@pytest.mark.parametrize("name", ["vic", "uma", "ada"])
def test_every_role_reads(browser_of: BrowserOf, models: Path, name: str) -> None:
    found = {path: browser_of(name).get(PAGE + path).status_code for path in READABLE}
    assert found == READABLE


def test_a_viewer_is_shown_no_form_and_may_not_write(
    ada: TestClient, vic: TestClient, unchanged: Callable[[], bool]
) -> None:
    for path in ("/", "/versions/1", "/versions/3"):
        assert "<form" not in vic.get(PAGE + path).text
    stolen = form_of(ada, 1) | {"reason": "because"}
    assert send(vic, 1, stolen).status_code == 403
    assert unchanged()


@pytest.mark.parametrize("name", ["uma", "ada"])
def test_who_may_edit_the_dag_may_write(browser_of: BrowserOf, models: Path, name: str) -> None:
    browser = browser_of(name)
    answer = send(browser, 1, form_of(browser, 1) | {"reason": "because"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}/")
    now = known(in_service.read(models))
    assert (now.version, now.entry.actor, now.entry.reason) == (1, name, "because")


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_a_forged_write_is_refused_even_with_the_forms_token(
    ada: TestClient, unchanged: Callable[[], bool], headers: dict[str, str]
) -> None:
    answer = send(ada, 1, form_of(ada, 1) | {"reason": "because"}, headers)
    assert answer.status_code == 403
    assert "did not come from this page" in answer.text
    assert unchanged()


def test_a_write_without_the_forms_token_is_refused(
    ada: TestClient, uma: TestClient, unchanged: Callable[[], bool]
) -> None:
    form = form_of(ada, 1) | {"reason": "because"}
    anothers = form_of(uma, 1)["form_token"]
    for token in ("", "x", form["form_token"][:-1], anothers):
        answer = send(ada, 1, form | {"form_token": token})
        assert answer.status_code == 403, token
        assert "Load the page again" in answer.text
    del form["form_token"]
    assert send(ada, 1, form).status_code == 403
    assert unchanged()


def test_a_form_that_lay_open_too_long_is_refused(
    ada: TestClient, unchanged: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    form = form_of(ada, 1) | {"reason": "because"}
    monkeypatch.setattr("skin_lesion_page.own_form.VALID_SECONDS", -1)
    assert send(ada, 1, form).status_code == 403
    assert unchanged()


def test_behind_a_proxy_that_asks_for_another_host_the_base_url_counts(
    ada: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = form_of(ada, 1) | {"reason": "because"}
    headers = {"origin": "https://airflow.example", "sec-fetch-site": "same-origin"}
    assert send(ada, 1, form, headers).status_code == 403
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/lesions")
    assert send(ada, 1, form, headers).status_code == 303


def test_a_program_with_a_token_needs_no_form(nobody: TestClient, token_of: Callable[[str], str], models: Path) -> None:
    form = {"reason": "because", "instead_of": "2"}
    assert send(nobody, 1, form, {"authorization": f"Bearer {token_of('vic')}"}).status_code == 403
    assert send(nobody, 1, form, {"authorization": f"Bearer {token_of('ada')}"}).status_code == 303


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_nothing_but_a_post_writes(ada: TestClient, unchanged: Callable[[], bool], method: str) -> None:
    answer = ada.request(method, f"{PAGE}/versions/1/in-service", headers=FROM_THE_PAGE)
    assert answer.status_code in (404, 405)
    assert unchanged()


@pytest.mark.parametrize("path", ["/", "/versions/2", "/versions/2/report.html", "/in-use", "/nothing", "/page.css"])
def test_every_answer_forbids_what_it_does_not_need(ada: TestClient, models: Path, path: str) -> None:
    headers = ada.get(PAGE + path).headers
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "'unsafe-eval'" not in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_the_page_is_refused_where_it_cannot_be_loaded(
    airflow_app: FastAPI, ada: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mounted,) = [getattr(route, "app") for route in airflow_app.routes if getattr(route, "path", "") == PAGE]  # noqa: B009

    def missing() -> None:
        raise ImportError("No module named 'skinlesion'")

    monkeypatch.setitem(mounted.__globals__, "_page", missing)
    answer = ada.get(f"{PAGE}/")
    assert answer.status_code == 503
    assert "log" in answer.text
