"""Reduce a history that fails to a short one that still fails, by leaving nights out, then steps and faults (delta debugging)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.campaign.story import Night


def shrink(history: list[Night], fails: Callable[[list[Night]], bool], until: float) -> list[Night]:
    """Return the shortest history found by the time `until` for which `fails` holds."""
    history = _shorter(history, fails, until, keep_first=True)
    for number in range(len(history)):
        for name in ("after", "clock", "two_writers", "mlflow_away", "fault", "damage"):
            if name in history[number] and time.monotonic() < until:
                without = {key: value for key, value in history[number].items() if key != name}
                history = _if_fails(history, [*history[:number], without, *history[number + 1 :]], fails)
        if history[number]["settings"] and time.monotonic() < until:
            plain = history[number] | {"settings": {}}
            history = _if_fails(history, [*history[:number], plain, *history[number + 1 :]], fails)
        if number:
            history = _fewer_steps(history, number, fails, until)
    return history


def _fewer_steps(history: list[Night], number: int, fails: Callable[[list[Night]], bool], until: float) -> list[Night]:
    before, night, after = history[:number], history[number], history[number + 1 :]

    def with_steps(steps: list[Any]) -> list[Night]:
        return [*before, night | {"data": steps}, *after]

    return with_steps(_shorter(night["data"], lambda steps: fails(with_steps(steps)), until, keep_first=False))


def _if_fails(now: list[Night], shorter: list[Night], fails: Callable[[list[Night]], bool]) -> list[Night]:
    return shorter if fails(shorter) else now


def _shorter(items: list[Any], fails: Callable[[list[Any]], bool], until: float, *, keep_first: bool) -> list[Any]:
    """Return a part of a list that still fails and of which no single item can be left out."""
    size = max(1, len(items) // 2)
    while size and items:
        at = 1 if keep_first else 0
        while at < len(items) and time.monotonic() < until:
            without = items[:at] + items[at + size :]
            if without != items and fails(without):
                items = without
            else:
                at += size
        size //= 2
    return items
