"""A figure over one day and over ninety nights."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from tests.measured import known

from skin_lesion_page.trend_chart import FRAME, Chart, chart
from skinlesion.registry.figure import Figure
from skinlesion.registry.snapshot import TrendPoint

NIGHT = datetime(2026, 8, 31, 2, tzinfo=UTC)


def drawn(count: int, apart: timedelta = timedelta(days=1)) -> Chart:
    points = [
        TrendPoint(
            number=place + 1,
            at=(NIGHT + place * apart).isoformat(timespec="seconds"),
            figure=Figure(value=0.8, low=0.7, high=0.9),
            held_out_version="h3ld",
        )
        for place in range(count)
    ]
    return known(chart("Balanced accuracy", points, None))


@pytest.mark.parametrize(
    ("count", "apart", "texts", "period"),
    [
        (1, timedelta(0), ["02:00"], "2026-08-31, UTC"),
        (2, timedelta(hours=3), ["02:00", "05:00"], "2026-08-31, UTC"),
        (2, timedelta(0), ["02:00"], "2026-08-31, UTC"),
        (3, timedelta(days=1), ["31 Aug", "1 Sep", "2 Sep"], "2026-08-31 to 2026-09-02"),
        (90, timedelta(days=1), ["31 Aug", "30 Sep", "29 Oct", "28 Nov"], "2026-08-31 to 2026-11-28"),
    ],
)
def test_the_nights_are_named_under_the_chart(count: int, apart: timedelta, texts: list[str], period: str) -> None:
    made = drawn(count, apart)
    assert [text for _, text in made.nights] == texts
    assert made.period == period


@pytest.mark.parametrize("count", [1, 2, 7, 90, 500])
def test_no_two_dates_touch_and_each_stands_under_its_dot(count: int) -> None:
    made = drawn(count)
    places = [x for x, _ in made.nights]
    assert {dot.x for dot in made.dots} >= set(places)
    assert all(FRAME.left <= x <= FRAME.right for x in places)
    assert all(after - before > 45 for before, after in itertools.pairwise(places))


@pytest.mark.parametrize("count", [1, 90])
def test_the_values_have_two_to_five_round_ticks(count: int) -> None:
    ticks = drawn(count).ticks
    assert 2 <= len(ticks) <= 5
    assert all(FRAME.top <= y <= FRAME.bottom for y, _ in ticks)
