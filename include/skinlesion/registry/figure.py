"""A figure as people read it: every surface asks this one type what to say, so that all of them say the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Self

from pydantic import ConfigDict

from skinlesion.foundation.record import RecordPart

FEWEST_LESIONS: Final = 20
"""On fewer lesions no figure is shown. From here on the 95 % intervals of shares hold the truth in .94 to .97 of the cases whatever
the true share is; with ten lesions one of .99 is held in .916 (`python -m benchmarks.few_lesions`, docs/explanation/evaluation.md).
Figures that are no shares, such as the AUROC, follow the same bound; how their intervals do on so few lesions is not simulated."""

NONE: Final = "–"


class Part(RecordPart):
    """Part of a record of figures; NaN and infinity are refused, as JSON has neither."""

    model_config = ConfigDict(allow_inf_nan=False)


class Figure(Part):
    """A measured number with its 95 % interval; None if it is not measured.

    Attributes:
        lesions: number of lesions that it rests on: of the rarest class, where it depends on several. None if nobody knows.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    lesions: int | None = None

    @classmethod
    def of(cls, value: float | None, interval: Sequence[float] | None, lesions: int | None = None) -> Self:
        """Return a figure with this interval, low and high."""
        low, high = interval or (None, None)
        return cls(value=value, low=low, high=high, lesions=lesions)

    @property
    def has_too_few(self) -> bool:
        """Whether it rests on too few lesions to be shown."""
        return self.lesions is not None and 0 < self.lesions < FEWEST_LESIONS

    @property
    def is_shown(self) -> bool:
        """Whether there is a number to show."""
        return self.value is not None and not self.has_too_few

    @property
    def number(self) -> str:
        """The number without its interval, or why there is none."""
        if self.has_too_few:
            return f"too few lesions to judge ({self.lesions})"
        return "not measured" if self.value is None else f"{self.value:.3f}"

    @property
    def interval(self) -> str:
        """The interval; empty where no number is shown or it has none."""
        if not self.is_shown or self.low is None or self.high is None:
            return ""
        return f"{self.low:.3f}–{self.high:.3f}"

    @property
    def text(self) -> str:
        """The number and its interval, or why there is none."""
        return f"{self.number} ({self.interval})" if self.interval else self.number

    @property
    def of_100(self) -> str:
        """A share as a number of 100 with its interval, or why there is none."""
        if not self.is_shown or self.value is None:
            return self.number
        ends = "" if self.low is None or self.high is None else f" ({_of_100(self.low)}–{_of_100(self.high)})"
        return f"{_of_100(self.value)}{ends}"

    @property
    def signed(self) -> str:
        """A difference with its sign and interval, or why there is none."""
        if not self.is_shown or self.value is None:
            return self.number
        ends = "" if self.low is None or self.high is None else f" ({signed(self.low)} to {signed(self.high)})"
        return f"{signed(self.value)}{ends}"


def signed(value: float | None) -> str:
    """Return a difference with its sign, three decimals."""
    # + 0.0: no "-0.000"
    return NONE if value is None else f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")


def _of_100(share: float) -> str:
    hundred = 100 * share
    decimals = 0 if hundred >= 9.95 or hundred == 0 else 1 if hundred >= 0.95 else 2
    return f"{hundred:.{decimals}f}"
