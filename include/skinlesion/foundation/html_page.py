"""Pages for people: one HTML file each that loads nothing, with inline styles, images as data URIs and no script."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(templates: Path) -> Environment:
    """Return the Jinja environment for the templates of a folder; every text is escaped.

    `{% include "style.css" %}` inserts the style that the pages share.
    """
    made = Environment(
        loader=FileSystemLoader([templates, Path(__file__).with_name("templates")]),
        autoescape=True,  # select_autoescape goes by the suffix and would miss `.html.j2`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"count": _count, "picture": picture, "when": when}
    return made


def when(at: str) -> str:
    """Return a time, ISO 8601 in UTC, as people read it."""
    return f"{at[:16].replace('T', ' ')} UTC" if at else "an unknown time"


def _count(value: float) -> str:
    return f"{value:,}"


def picture(content: bytes) -> str:
    """Return a JPEG or PNG image as the address of a page's picture."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
