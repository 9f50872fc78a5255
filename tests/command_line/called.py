"""The types of the fixture `skinlesion`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Ended(NamedTuple):
    """What a command ended with and wrote."""

    status: int | str
    out: str
    err: str


Skinlesion = Callable[..., Ended]
"""Calls `skinlesion` with these words, as if they were typed."""
