"""Numbers in sentences that people read."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun and what depends on it: `1 image waits`, `2,048 images wait`.

    one: what follows the number 1. many: what follows any other one; empty for the plural of the noun that `one` is.
    """
    plural = f"{one[:-1]}ies" if one.endswith("y") else f"{one}s"
    return f"{number:,} {one if number == 1 else many or plural}"
