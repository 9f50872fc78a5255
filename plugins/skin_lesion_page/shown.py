"""A page of a long list."""

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
