"""How a page is made from its template."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse

from skinlesion.foundation import html_page

HERE: Final = Path(__file__).parent
TEMPLATES: Final = html_page.environment(HERE / "templates")


def base(request: Request) -> str:
    """Return where the page begins, with the prefix of [api] base_url."""
    return str(request.scope["root_path"])


def page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a page from a template; every text is escaped."""
    begins = base(request)
    html = TEMPLATES.get_template(template).render(base=begins, airflow=begins.rpartition("/")[0], **content)
    return HTMLResponse(html, status)
