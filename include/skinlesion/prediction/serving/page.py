"""The web page, a client of the API. Its files load nothing from another server."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.markdown import html_of
from skinlesion.prediction.serving.documents import FORMATS, NOTICE
from skinlesion.prediction.serving.examples import EXAMPLES, example
from skinlesion.prediction.serving.problem import Problem
from skinlesion.prediction.serving.settings import TOKEN_VARIABLE

FOLDER: Final = Path(__file__).with_name("static")

_ENVIRONMENT: Final = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)

_KINDS: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

_PICTURE_KINDS: Final = "image/jpeg,image/png,image/tiff,image/webp,image/bmp,image/gif,image/avif,image/jp2,.dcm"
"""Listed one by one, so that a phone converts its HEIC photographs to JPEG."""


def card_page(markdown: str) -> str:
    """Return a model card as a page."""
    return _ENVIRONMENT.get_template("card.html.j2").render(card=html_of(markdown))


def router() -> APIRouter:
    """Return the page's routes. They need no token: they show nothing of the model or of an image."""
    html = _ENVIRONMENT.get_template("page.html.j2").render(
        notice=NOTICE,
        examples=EXAMPLES,
        labels=LABELS,
        accepted=_PICTURE_KINDS,
        formats=FORMATS,
        token_variable=TOKEN_VARIABLE,
    )
    api = _ENVIRONMENT.get_template("api.html.j2").render(notice=NOTICE)
    files = {name: (FOLDER / name).read_bytes() for name in _KINDS}
    pages = APIRouter(include_in_schema=False)

    @pages.get("/")
    async def page() -> Response:
        return Response(html, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @pages.get("/api")
    async def api_page() -> Response:
        return Response(api, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @pages.get("/static/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            raise _missing(name)
        return Response(files[name], headers={"Content-Type": _KINDS[name], "Cache-Control": "no-cache"})

    @pages.get("/examples/{name}")
    def picture(name: str) -> Response:
        try:
            content = example(name)
        except KeyError:
            raise _missing(name) from None
        return Response(content, media_type="image/jpeg", headers={"Cache-Control": "max-age=3600"})

    return pages


def _missing(name: str) -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not-found", f"There is no {name[:50]!r} here.")
