"""A version's report, plots and figures, as a browser may show them: unable to act for whoever looks at them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import Response
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment

SANDBOX: Final = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox allow-same-origin"
)
"""No script, no form, no window, no request of any kind, only what lies in the file itself. It keeps its origin, which is
of no use to a file in which nothing runs, so that a link to the data report beside it still brings Airflow's cookie."""

_TEXT: Final = "text/plain; charset=utf-8"
_MEDIA_TYPES: Final = {".html": "text/html; charset=utf-8", ".png": "image/png", ".json": _TEXT}


def answer_with(path: Path, title: str, templates: Environment) -> Response:
    """Give the file: a report as it is, a model card (Markdown) as a page, figures (JSON) as text."""
    headers = {"content-security-policy": SANDBOX}
    if path.suffix == ".md":
        content = templates.get_template("model_card.html.j2").render(title=title, card=_rendered(path.read_text()))
        return HTMLResponse(content, headers=headers)
    return FileResponse(path, media_type=_MEDIA_TYPES.get(path.suffix, _TEXT), headers=headers)


def _rendered(markdown: str) -> str:
    """Give HTML. HTML within the Markdown is text, and a link that is no plain address is none."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(markdown)
