"""Pages for people: one HTML file each that loads nothing, with inline styles, images as data URIs and no script."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from skinlesion.foundation.wording import counted


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
    made.filters |= {"count": _count, "counted": counted, "number": number, "picture": picture, "when": when}
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


def number(found: object) -> str:
    """Return what a criterion measured as text: a number, or whatever else its line holds."""
    if isinstance(found, bool):
        return "yes" if found else "no"
    if isinstance(found, int | float):
        return f"{found:,.0f}" if abs(found) >= 10_000 else f"{found:.4g}"
    if isinstance(found, dict):
        return ", ".join(f"{_named(name, one)} {number(one)}" for name, one in found.items())
    if isinstance(found, list | tuple):
        return ", ".join(number(one) for one in found)
    return "–" if found is None else str(found)


def _named(name: str, found: object) -> str:
    words = name if "." in name else name.replace("_", " ")  # not the name of a file
    return words if isinstance(found, int | float) else f"{words}:"
