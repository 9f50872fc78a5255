"""How often the held-out lesions have judged, what that has spent of the error budget, and which version is the reference.

All of it follows from the history, which only grows; nothing counts beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from skinlesion.foundation.wording import counted
from skinlesion.registry.history import HistoryEntry

FREE_BELOW: Final = 0.01
"""A judgement with at most this p-value beside the reference draws nothing from the budget."""

BETTER_AT: Final = 0.01
"""Largest p-value at which a version counts as shown to be better than the reference, which it then replaces."""


def level(budget: float, draws: int) -> float:
    """Return the largest p-value with which the next candidate passes beside the reference, after so many draws.

    It is adaptive alpha spending (Tian & Ramdas, "Online control of the familywise error rate", Stat. Methods Med. Res. 30:976,
    2021): budget * (1 - FREE_BELOW) * 6 / (pi * k)^2 at the k-th draw, which add up to the budget however many there are.
    """
    return budget * (1 - FREE_BELOW) * 6 / (math.pi * (draws + 1)) ** 2


def is_draw(p: float) -> bool:
    """Return whether a judgement with this p-value beside the reference draws on the budget."""
    return p > FREE_BELOW


def is_better(found: Iterable[tuple[float, float]]) -> bool:
    """Return whether a version is shown to be better than the reference: in one figure, and lower in none.

    found: of each figure the p-value of "it is no better", and the difference.
    """
    found = list(found)
    return any(p <= BETTER_AT for p, _ in found) and all(difference >= 0 for _, difference in found)


@dataclass(frozen=True)
class Looks:
    """What the held-out lesions have been asked so far.

    Attributes:
        lesions: number of malignant lesions that are held out.
        judged: how often most of them have judged a candidate beside the reference.
        draws: how many of these judgements drew on the error budget.
    """

    lesions: int
    judged: int
    draws: int

    @classmethod
    def of(cls, entries: Iterable[HistoryEntry], lesions: int | None = None) -> Self:
        """Return what the history, oldest first, says of the lesions that are held out now; by default of those that judged last.

        A judgement is forgotten once the malignant lesions have doubled since: then most of those that judge are new.
        """
        looks = [one.verdict.look for one in entries if one.what == "judged" and one.verdict is not None]
        counted = [one for one in looks if one is not None]
        if lesions is None:
            lesions = counted[-1].lesions if counted else 0
        fresh = [one for one in counted if 2 * one.lesions > lesions]
        return cls(lesions, len(fresh), sum(one.is_draw for one in fresh))

    @property
    def left(self) -> float:
        """The share of the budget that is left."""
        return max(0.0, 1 - 6 / math.pi**2 * sum(1 / k**2 for k in range(1, self.draws + 1)))

    @property
    def sentence(self) -> str:
        """How often they have judged and what is left, for people."""
        judged = f"judged {_times(self.judged)}" if self.judged else "not judged beside a reference yet"
        draws = counted(self.draws, "draw") if self.draws else "no draws"
        held_out = counted(
            self.lesions, "malignant lesion that is held out has", "malignant lesions that are held out have"
        )
        return f"The {held_out} {judged}, with {draws} on the error budget; {self.left:.0%} of it is left."


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def reference_of(entries: Iterable[HistoryEntry]) -> int | None:
    """Return the number of the reference, from the history, oldest first; None if no version ever was in service.

    It is the first version that came into service, then each that did so after it was shown to be better than the reference,
    or the one that a person chose. A rollback does not move it, nor does a version that a person put in service untested.
    """
    found: int | None = None
    for one in entries:
        if one.what == "made the reference":
            found = one.version
        elif one.what == "promoted":
            look = one.verdict.look if one.verdict is not None else None
            if found is None or (look is not None and look.is_better and look.reference == found):
                found = one.version
    return found
