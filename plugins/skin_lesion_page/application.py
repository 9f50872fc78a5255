"""The addresses of the page, and the answer to each. Airflow's API server mounts it under /skin-lesion-models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, FastAPI, Form, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from skin_lesion_page import in_use, pages, review, switched_off, trend_chart, version_file
from skin_lesion_page.access import MAY_READ, MAY_SWITCH, may_switch
from skin_lesion_page.comparison import compared
from skin_lesion_page.own_form import OWN_FORM, form_token
from skin_lesion_page.run_version import SAID_BY, failed_data_report, failure_of, version_of_run
from skinlesion.evaluation.in_use.record import ShadowRecord
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.change_plan.document import document, note_decisions
from skinlesion.registry.on_disk import on_disk
from skinlesion.registry.report_files import KNOWN, report_file, report_files
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import promote, rollback
from skinlesion.registry.verdict import read_verdict
from skinlesion.registry.versions import FIGURES
from skinlesion.stages.settings import PipelineConfig

VERSIONS_ON_A_PAGE: Final = 25
ENTRIES_ON_A_PAGE: Final = 50
NEWEST_ENTRIES: Final = 5
"""Entries of the history on the first page."""
COMPARED_WITH: Final = 8
"""Versions to which the page of a version leads for a comparison."""

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, no-cache",
}
"""Headers of every answer that does not set its own."""

STATIC: Final = {
    "page.css": "text/css; charset=utf-8",
    "mode.js": "text/javascript; charset=utf-8",
    "own_page.js": "text/javascript; charset=utf-8",
    "review.css": "text/css; charset=utf-8",
    "review.js": "text/javascript; charset=utf-8",
}

Number = Annotated[int, Query(ge=1, le=1_000_000)]

router = APIRouter()


def application() -> FastAPI:
    """Return the page as an application. All of it, its own description included, asks for a login."""
    app = FastAPI(dependencies=[MAY_READ], openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(review.router)
    app.include_router(router)  # its last address is whatever no other has
    app.middleware("http")(_with_headers)
    app.exception_handler(AnyHTTPException)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(DataError)(_not_done)
    app.exception_handler(OSError)(_failed)
    return app


@router.get("/")
def models(request: Request, user: GetUserDep, page: Number = 1) -> Response:
    """Show what is in service, figures over the nights, the versions, and the latest entries of the history."""
    registry = _registry()
    champion = registry.champion
    number = champion.number if champion is not None else None
    charts = [trend_chart.chart(title, registry.trend(name), number) for name, title in FIGURES.items()]
    return pages.page(
        request,
        "models.html.j2",
        registry=registry,
        paused=switched_off.notices(registry),
        charts=[one for one in charts if one is not None],
        frame=trend_chart.FRAME,
        nights=trend_chart.SHOWN,
        relabelled=[one for one in registry.history if one.relabelled is not None][:NEWEST_ENTRIES],
        titles=FIGURES,
        versions=pages.page_of(registry.versions, page, VERSIONS_ON_A_PAGE),
        entries=registry.history[:NEWEST_ENTRIES],
        form=_switch_form(registry, user),
        disk=on_disk(registry.models),
    )


@router.get("/history")
def history(request: Request, page: Number = 1) -> Response:
    """Show who did what, when, and why."""
    registry = _registry()
    entries = pages.page_of(registry.history, page, ENTRIES_ON_A_PAGE)
    return pages.page(request, "history.html.j2", registry=registry, entries=entries)


@router.get("/compare")
def compare(request: Request, first: Number, second: Number) -> Response:
    """Show two versions beside each other; differences are the second minus the first."""
    registry = _registry()
    for number in (first, second):
        _known(registry, number)
    return pages.page(request, "compare.html.j2", found=compared(registry.models, first, second))


@router.get("/in-use")
def model_in_use(request: Request) -> Response:
    """Show what the monitor found: alarms, performance, and how far the weeks lie from the held-out images."""
    return pages.page(request, "in_use.html.j2", **in_use.content(PipelineConfig.of({}).models))


@router.get("/run")
def run(request: Request, dag_id: str = "", run_id: str = "") -> Response:
    """Say why a run of a DAG failed, else lead to the version that it is about: the tab on the run."""
    failure, version = failure_of(dag_id, run_id), version_of_run(_registry(), dag_id, run_id)
    if version is not None and failure is None:
        return RedirectResponse(f"{pages.base(request)}/versions/{version.number}", 303)
    return pages.page(
        request,
        "run.html.j2",
        dag_id=dag_id,
        run_id=run_id,
        is_ours=dag_id in SAID_BY,
        failure=failure,
        version=version,
        has_data_report=failure is not None and failed_data_report(_dataset(), failure) is not None,
    )


@router.get("/data_report_failed.html")
def data_report_failed() -> Response:
    """Return the report on the data that did not pass their checks last."""
    path = layout.failed_data_report(_dataset())
    if not path.is_file():
        raise HTTPException(404, "No data have failed their checks since they passed them.")
    return version_file.answer_with(path, "Data that did not pass", pages.TEMPLATES)


@router.get("/change_plan.html")
def change_plan() -> Response:
    """Return the change plan, the protocol and every version's change record as one document."""
    headers = {"content-security-policy": version_file.SANDBOX}
    return HTMLResponse(document(PipelineConfig.of({})), headers=headers)


@router.get("/versions/{number:int}")
def version(request: Request, user: GetUserDep, number: int, file: str = "") -> Response:
    """Show a version: figures, each line of its verdict, reports, what happened to it, the form that puts it in service."""
    registry = _registry()
    found = _known(registry, number)
    files = report_files(registry, number)
    documents = [name for name in files if not name.endswith(".png")]
    if file and file not in documents:
        raise HTTPException(404, f"Version {number} has no such file.")
    return pages.page(
        request,
        "version.html.j2",
        registry=registry,
        paused=switched_off.notices(registry) if found.verdict is None else [],
        version=found,
        verdict=read_verdict(registry.models, found.run, number),
        shadow=ShadowRecord.known(registry.models, number),
        figure_titles=FIGURES,
        titles=KNOWN,
        documents=documents,
        pictures=[name for name in files if name.endswith(".png")],
        open_document=file or next(iter(documents), None),
        entries=registry.of_version(number),
        others=_to_compare_with(registry, found),
        form=_switch_form(registry, user),
    )


@router.get("/versions/{number:int}/{name}")
def file(number: int, name: str) -> Response:
    """Return one of the known files of a version."""
    registry = _registry()
    _known(registry, number)
    path = report_file(registry, number, name)
    if path is None:
        raise HTTPException(404, f"Version {number} has no such file.")
    return version_file.answer_with(path, f"Version {number}", pages.TEMPLATES)


@router.post("/versions/{number:int}/in-service", dependencies=[MAY_SWITCH, OWN_FORM])
def put_in_service(
    request: Request,
    user: GetUserDep,
    number: int,
    reason: Annotated[str, Form(max_length=500)] = "",
    instead_of: Annotated[int | None, Form()] = None,
) -> Response:
    """Put a version in service, as a rollback if it was there before. instead_of: the version that the person saw there."""
    registry = _registry()
    asked_for, actor = _known(registry, number), user.get_name()
    if asked_for.state == "former champion":
        rollback(registry.models, actor=actor, reason=reason, to=number, instead_of=instead_of)
    else:
        promote(registry.models, number, actor=actor, reason=reason, instead_of=instead_of)
    note_decisions(registry.models, number)
    return RedirectResponse(f"{pages.base(request)}/", 303)


@router.get("/{name:path}")
def static(name: str) -> Response:
    """Return the page's own style or script. Without a login nobody learns which files there are."""
    if name not in STATIC:
        raise HTTPException(404, "There is no such page.")
    return FileResponse(pages.HERE / "static" / name, media_type=STATIC[name])


def _registry() -> Registry:
    return Registry.read(PipelineConfig.of({}).models)


def _dataset() -> Path:
    return PipelineConfig.of({}).dataset


def _known(registry: Registry, number: int) -> Version:
    found = next((version for version in registry.versions if version.number == number), None)
    if found is None:
        raise HTTPException(404, f"There is no version {number}.")
    return found


class SwitchForm(NamedTuple):
    """What a form that puts a version in service sends along: its token, and the version that the person saw there."""

    token: str
    instead_of: int | None


def _switch_form(registry: Registry, user: GetUserDep) -> SwitchForm | None:
    """Return what the user's forms send along, None if the user may not switch."""
    return SwitchForm(form_token(user), registry.last_in_service) if may_switch(user) else None


def _to_compare_with(registry: Registry, version: Version) -> list[Version]:
    """Return what a measured version compares with: what is in service, the reference, then the versions nearest to it."""
    if version.measured is None:
        return []
    named = [registry.champion.number if registry.champion else None, registry.reference]
    others = [one for one in registry.versions if one.measured is not None and one.number != version.number]
    return sorted(others, key=lambda one: (one.number not in named, abs(one.number - version.number)))[:COMPARED_WITH]


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    sentences = {
        401: "You are not logged in to Airflow. Log in, then load this page again.",
        403: "Your role in Airflow does not allow this.",
        404: "There is no such page.",
    }
    says_more = error.detail.endswith(".")
    return _error(
        request, error.status_code, error.detail if says_more else sentences.get(error.status_code, error.detail)
    )


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
    return _error(request, 422, f"This cannot be read ({wrong}). Nothing was changed.")


def _not_done(request: Request, error: Exception) -> Response:
    return _error(request, 409, str(error))


def _failed(request: Request, error: Exception) -> Response:
    return _error(request, 503, f"{error}. Try again; if it stays so, look at the log of Airflow's API server.")


def _error(request: Request, status: int, sentence: str) -> Response:
    return pages.page(request, "error.html.j2", status, sentence=sentence)
