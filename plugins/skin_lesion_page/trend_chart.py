"""A figure over the nights, with its 95 % intervals, as the shapes of an SVG picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from skinlesion.foundation.html_page import when
from skinlesion.registry.snapshot import TrendPoint

SHOWN: Final = 90
"""Largest number of nights: with more of them the dots overlap."""

_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class Dot:
    """One measurement.

    Attributes:
        x, y: where it stands.
        low, high: how far its interval reaches, where no neighbour compares, so that it is in no band; else None.
        says: it in words.
        is_champion: whether that version is in service.
    """

    x: float
    y: float
    low: float | None
    high: float | None
    says: str
    is_champion: bool


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        title: of the figure.
        bands: the intervals, a polygon's points for each stretch of nights that compare.
        lines: the values, likewise.
        dots: each measurement.
        breaks: x between nights whose held-out images differ, so that their figures do not compare.
        ticks: y and its value as text.
        nights: x of some measurements, and when each was, as text.
        period: the days of the first and the last measurement.
        latest: the last one in words.
    """

    title: str
    bands: tuple[str, ...]
    lines: tuple[str, ...]
    dots: tuple[Dot, ...]
    breaks: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    nights: tuple[tuple[float, str], ...]
    period: str
    latest: str


class Frame(NamedTuple):
    """The edges of a drawing: its size, and those of the part in which the values stand."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


FRAME: Final = Frame(width=360, height=168, left=40, right=352, top=10, bottom=138)
"""In the picture's own units: about the pixels of a phone's screen."""


def chart(title: str, points: Sequence[TrendPoint], champion: int | None) -> Chart | None:
    """Return a chart of the last `SHOWN` points, oldest first; None if nothing was measured on lesions enough."""
    points = [point for point in points if point.figure.is_shown][-SHOWN:]
    if not points:
        return None
    ends = [end for point in points for end in (point.figure.value, point.figure.low, point.figure.high)]
    low, high = _range([end for end in ends if end is not None])
    step = (FRAME.right - FRAME.left) / len(points)
    xs = [round(FRAME.left + (place + 0.5) * step, 1) for place in range(len(points))]

    def y(of: float) -> float:
        return round(FRAME.top + (high - of) / (high - low) * (FRAME.bottom - FRAME.top), 1)

    stretches = list(_stretches(points))
    alone = {places[0] for places in stretches if len(places) == 1}
    return Chart(
        title=title,
        bands=tuple(_band(points, xs, y, places) for places in stretches if len(places) > 1),
        lines=tuple(" ".join(f"{xs[place]},{y(_value(points[place]))}" for place in places) for places in stretches),
        dots=tuple(
            Dot(
                x=xs[place],
                y=y(_value(point)),
                low=y(point.figure.low) if place in alone and point.figure.low is not None else None,
                high=y(point.figure.high) if place in alone and point.figure.high is not None else None,
                says=_says(point),
                is_champion=point.number == champion,
            )
            for place, point in enumerate(points)
        ),
        breaks=tuple(round((xs[before[-1]] + xs[after[0]]) / 2, 1) for before, after in pairwise(stretches)),
        ticks=tuple((y(at), f"{at:.2f}") for at in _ticks(low, high)),
        nights=tuple(_nights(points, xs)),
        period=_period(points),
        latest=_says(points[-1]),
    )


def _value(point: TrendPoint) -> float:
    assert point.figure.value is not None  # the others were left out
    return point.figure.value


def _says(point: TrendPoint) -> str:
    return f"Version {point.number}, {when(point.at)}: {point.figure.text}"


def _stretches(points: Sequence[TrendPoint]) -> Iterator[list[int]]:
    """Yield the positions of consecutive points that were measured on the same images."""
    places: list[int] = []
    for place, point in enumerate(points):
        if places and points[places[-1]].held_out_version != point.held_out_version:
            yield places
            places = []
        places.append(place)
    yield places


def _band(points: Sequence[TrendPoint], xs: Sequence[float], y: Callable[[float], float], places: list[int]) -> str:
    """Return the polygon of the intervals: along the upper ends, then back along the lower ones."""
    ends = [(xs[i], points[i].figure.low, points[i].figure.high) for i in places]
    there = [f"{x},{y(high)}" for x, low, high in ends if low is not None and high is not None]
    back = [f"{x},{y(low)}" for x, low, high in reversed(ends) if low is not None and high is not None]
    return " ".join(there + back)


_DATES: Final = 4
"""Largest number of dates under a chart: more would touch each other."""


def _nights(points: Sequence[TrendPoint], xs: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Yield x and the day of some measurements, evenly chosen; the time where all are of one day."""
    is_one_day = len({point.at[:10] for point in points}) == 1
    gaps = min(_DATES, len(points)) - 1
    places = [round(count * (len(points) - 1) / gaps) for count in range(gaps + 1)] if gaps else [0]
    before = ""
    for place in places:
        at = datetime.fromisoformat(points[place].at)
        text = f"{at:%H:%M}" if is_one_day else f"{at.day} {at:%b}"
        if text != before:
            yield xs[place], text
        before = text


def _period(points: Sequence[TrendPoint]) -> str:
    first, last = points[0].at[:10], points[-1].at[:10]
    return f"{first}, UTC" if first == last else f"{first} to {last}"


def _range(ends: Sequence[float]) -> tuple[float, float]:
    """Return the range of the axis: every end with some margin, wide enough that a tiny difference stays small."""
    low, high = min(ends), max(ends)
    room = max(0.02, (high - low) * 0.1)
    return max(0.0, low - room), min(1.0, high + room) if high <= 1.0 else high + room


def _ticks(low: float, high: float) -> list[float]:
    step = next((step for step in _STEPS if (high - low) / step <= 4), _STEPS[-1])
    return [step * count for count in range(-int(-low // step), int(high / step) + 1)]
