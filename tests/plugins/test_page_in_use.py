"""The page "In use": what the monitor found, before it ran, and where its record is damaged or old."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.evaluation.in_use.logs import in_use
from tests.plugins.page_form import PAGE
from tests.plugins.test_page import HOSTILE, text_of

from skinlesion.evaluation.in_use.record import Alarm, MonitorRecord, Week
from skinlesion.foundation import layout

if TYPE_CHECKING:
    from starlette.testclient import TestClient


@pytest.fixture
def models(empty_models: Path) -> Path:
    empty_models.mkdir()
    return empty_models


def monitored(models: Path, weeks: int, **shift: Any) -> MonitorRecord:
    """Return what the monitor finds in so many weeks of a log, and leave it where the page reads it."""
    used = in_use(models.parent)
    for number in range(weeks):
        used.week(number, **shift)
    found = used.monitor(now=datetime.now(UTC))
    found.write(layout.monitored(models))
    return found


def test_it_shows_alarms_with_what_to_do_estimates_and_how_far_each_week_lies(vic: TestClient, models: Path) -> None:
    found = monitored(models, 4, brightness=-1)
    answer = vic.get(f"{PAGE}/in-use")
    text = text_of(answer.text)
    assert f"Alarm since the week of {found.alarms[0].since}. Brightness lies" in text
    assert "What to do: Look at where the pictures come from" in text
    assert "800 answers in the log, 0 diagnoses" in text
    assert f"{found.weeks[-1].estimated['malignant_auroc'].text} estimated" in text
    effect = found.weeks[0].effects["brightness"]
    assert f"{effect.value:+.2f}".replace("-", "−") in text
    assert answer.text.count("<svg") == 3
    assert "ran last" not in text


def test_alarms_that_ask_for_the_same_stand_together(vic: TestClient, models: Path) -> None:
    found = monitored(models, 3, brightness=-1, red=-1)
    assert {alarm.signal for alarm in found.alarms} == {"brightness", "red"}
    text = text_of(vic.get(f"{PAGE}/in-use").text)
    assert text.count("Alarm since the week of") == 2
    assert text.count("What to do:") == text.count(found.alarms[0].remedy) == 1


def test_before_the_monitor_ran_it_says_what_to_do(vic: TestClient, models: Path) -> None:
    text = text_of(vic.get(f"{PAGE}/in-use").text)
    assert "Nothing is known of the model in use" in text and "skin_lesion_monitor" in text


def test_a_damaged_record_is_named_and_no_error(vic: TestClient, models: Path) -> None:
    layout.monitored(models).write_text("{")
    answer = vic.get(f"{PAGE}/in-use")
    assert answer.status_code == 200
    assert "monitor.json" in answer.text and "writes it anew" in answer.text


def made(weeks: int = 0, days: float = 0, text: str = "") -> MonitorRecord:
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")
    alarm = Alarm(signal="size", side="above", monday="2026-03-02", since="2026-03-02", sentence=text, remedy=text)
    week = Week(monday="2026-03-02", is_over=True, version=text or "v", number=0, images=1, cases=1, note=text)
    return MonitorRecord(
        at=at, entries=1, missing=0, diagnoses=0, reference={}, weeks=(week,) * weeks, alarms=(alarm,) if text else (),
        past=(alarm,) if text else (), warnings=(text,) if text else (),
    )  # fmt: skip


def test_a_record_that_is_old_says_so_and_one_without_weeks_is_shown(vic: TestClient, models: Path) -> None:
    made(days=3).write(layout.monitored(models))
    text = text_of(vic.get(f"{PAGE}/in-use").text)
    assert "The monitor ran last" in text and "The log has no answers yet" in text


def test_what_a_record_holds_is_text_and_never_markup(vic: TestClient, models: Path) -> None:
    made(weeks=2, text=HOSTILE).write(layout.monitored(models))
    page = vic.get(f"{PAGE}/in-use").text
    assert "<script>alert" not in page and "<img" not in page and "49" not in text_of(page).replace("2026", "")


def test_a_year_of_weeks_is_shown_at_once(vic: TestClient, models: Path) -> None:
    found = monitored(models, 1)
    found.model_copy(update={"weeks": found.weeks * 53}).write(layout.monitored(models))
    vic.get(f"{PAGE}/in-use")
    start = time.process_time()
    assert vic.get(f"{PAGE}/in-use").status_code == 200
    assert time.process_time() - start < 1
