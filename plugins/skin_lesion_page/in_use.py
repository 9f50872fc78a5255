"""The page "In use": what the monitor found in the prediction log, as it wrote it down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from skin_lesion_page import trend_chart
from skinlesion.evaluation.in_use.record import (
    PERFORMANCE,
    SIGNALS,
    Effect,
    MonitorRecord,
    ShadowRecord,
    Week,
    by_remedy,
)
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.registry.figure import Figure
from skinlesion.registry.snapshot import TrendPoint

SHOWN: Final = 12
"""Weeks in the tables."""

SIGNALS_SHOWN: Final = 8
"""Weeks beside which the signals stand."""

STALE: Final = timedelta(days=2)

PAST: Final = 10
"""Alarms of earlier weeks."""


@dataclass(frozen=True)
class Cell:
    """How far a signal lies from the held-out images in a week. state: a style; says: the interval in words."""

    text: str
    state: str
    says: str


def content(models: Path, now: datetime | None = None) -> dict[str, Any]:
    """Return what the page shows. Where the record is damaged or missing it says so."""
    now = now or datetime.now(UTC)
    try:
        found = MonitorRecord.read_if_there(layout.monitored(models))
    except DataError as error:
        return {"found": None, "problem": str(error)}
    if found is None:
        return {"found": None, "problem": ""}
    last = found.weeks[-SHOWN:][::-1]
    columns = found.weeks[-SIGNALS_SHOWN:]
    return {
        "found": found,
        "problem": "",
        "alarms": by_remedy(found.alarms),
        "is_stale": now - datetime.fromisoformat(found.at) > STALE,
        "weeks": last,
        "performance": PERFORMANCE,
        "charts": [one for one in (_chart(name, kind, found.weeks) for name in PERFORMANCE for kind in _KINDS) if one],
        "frame": trend_chart.FRAME,
        "columns": columns,
        "signals": [(title, [_cell(week.effects.get(name)) for week in columns]) for name, title in SIGNALS.items()],
        "past": found.past[::-1][:PAST],
        "reference": found.reference,
        "shadow": ShadowRecord.known(models),
    }


_KINDS: Final = {"estimated": "estimated without labels", "measured": "measured on diagnoses, of up to eight weeks"}


def _chart(name: str, kind: str, weeks: Sequence[Week]) -> trend_chart.Chart | None:
    points = [
        TrendPoint(f"{week.monday}T00:00:00+00:00", week.number, figure, week.version)
        for week in weeks
        if (figure := getattr(week, kind).get(name, Figure())).is_shown
    ]
    return trend_chart.chart(f"{PERFORMANCE[name]}, {_KINDS[kind]}", points, None)


def _cell(effect: Effect | None) -> Cell:
    if effect is None:
        return Cell("–", "quiet", "not compared")
    is_sure = effect.low > 0 or effect.high < 0
    text = f"{effect.value:+.2f}".replace("-", "−")
    return Cell(text, "lost" if is_sure else "", f"{effect.low:+.2f} to {effect.high:+.2f}".replace("-", "−"))
