"""How a page is made from its template, and a page of a long list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from fastapi import Request
from fastapi.responses import HTMLResponse

from skinlesion.foundation import html_page

HERE: Final = Path(__file__).parent
TEMPLATES: Final = html_page.environment(HERE / "templates")

Item = TypeVar("Item")


def base(request: Request) -> str:
    """Return where the page begins, with the prefix of [api] base_url."""
    return str(request.scope["root_path"])


def page(request: Request, template: str, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a page from a template; every text is escaped."""
    begins = base(request)
    html = TEMPLATES.get_template(template).render(base=begins, airflow=begins.rpartition("/")[0], **content)
    return HTMLResponse(html, status)


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list.

    Attributes:
        items: those of this page.
        number: of the page, 1 is the first; last: of the last page.
        total: how many items the list has.
    """

    items: Sequence[Item]
    number: int
    last: int
    total: int


def page_of(items: Sequence[Item], number: int, size: int) -> Page[Item]:
    """Return page `number` (from 1), or the last one if there are fewer."""
    last = max(1, -(-len(items) // size))
    number = min(number, last)
    return Page(items[(number - 1) * size : number * size], number, last, len(items))
