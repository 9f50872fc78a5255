"""Markdown of ours as HTML for a page."""

from __future__ import annotations

import re


def html_of(markdown: str) -> str:
    """Return Markdown as HTML. HTML inside it is shown as text, only a plain address becomes a link, and metadata before it are left out."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(renderer.render(re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.DOTALL)))
