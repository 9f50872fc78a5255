"""A version's report, plots and figures for a browser, unable to act on behalf of the person who views them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment

from skinlesion.foundation.markdown import html_of

SANDBOX: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-same-origin"
)
"""Content security policy of a version's files: no script, form, window or request of any kind. The file keeps its origin, so
that a link to the data report beside it still carries Airflow's cookie; nothing runs in the file that could misuse it."""

_TEXT: Final = "text/plain; charset=utf-8"
_MEDIA_TYPES: Final = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": _TEXT}


def answer_with(path: Path, title: str, templates: Environment) -> Response:
    """Return the file: a report as it is, a model card (Markdown) as a page, figures (JSON) as text."""
    headers = {"content-security-policy": SANDBOX}
    if path.suffix == ".md":
        content = templates.get_template("model_card.html.j2").render(title=title, card=html_of(path.read_text()))
        return HTMLResponse(content, headers=headers)
    return FileResponse(path, media_type=_MEDIA_TYPES.get(path.suffix, _TEXT), headers=headers)
