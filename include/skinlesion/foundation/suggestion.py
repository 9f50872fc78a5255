"""The known name that somebody probably meant when they mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question "Did you mean `epochs`?" for the known name closest to `name`, empty if none is close."""
    close = get_close_matches(name.lower(), list(known), n=1)
    return f"Did you mean `{close[0]}`?" if close else ""
