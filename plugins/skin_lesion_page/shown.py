"""How numbers are written, and a page of a long list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


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
