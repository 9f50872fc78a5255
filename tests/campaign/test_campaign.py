"""A few simulated nights with faults, in each `make test`; more of them in `make test-slow`; `make campaign` runs them all."""

import time
from collections.abc import Iterator

import pytest
from tests.campaign.campaign import campaign, live
from tests.campaign.shrink import shrink
from tests.campaign.story import Night, story
from tests.campaign.workers import Workers

SEED = 2
NIGHTS = 4


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    both = Workers()
    yield both
    both.end()


def test_nights_with_faults_leave_nothing_that_must_not_be(workers: Workers) -> None:
    result = live(story(SEED, NIGHTS), workers)
    assert result.violations == [], result.log
    assert result.nights == NIGHTS
    assert sum(count for name, count in result.counts.items() if name.startswith("fault ")) >= 1
    assert result.checks > 0, "a reader looked at what was in service"


@pytest.mark.slow
def test_many_nights_of_many_seeds() -> None:
    found = campaign(list(range(200, 208)), 12, processes=2, until=time.time() + 400, log=None)
    assert found["violations"] == {}, found
    assert found["kills"] >= 5


def test_a_seed_tells_the_same_history_again() -> None:
    assert story(7, 30) == story(7, 30)
    assert story(7, 30)[:10] == story(7, 10)
    assert story(7, 10) != story(8, 10)


def test_a_history_that_fails_is_reduced_to_what_makes_it_fail() -> None:
    history = story(11, 25)
    guilty = next(number for number, night in enumerate(history) if number and "fault" in night and night["data"])
    step = history[guilty]["data"][0]

    def fails(some: list[Night]) -> bool:
        return any("fault" in night and step in night["data"] for night in some)

    shortest = shrink(history, fails, time.monotonic() + 60)
    assert fails(shortest)
    assert len(shortest) == 2, "the first night brings the data set"
    assert shortest[1]["data"] == [step]
    assert set(shortest[1]) == {"data", "settings", "fault"}
