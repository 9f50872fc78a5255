"""Runs of the DAGs as people read them: by night, or by who started them and when, not by Airflow's name of a run."""

from __future__ import annotations

import re
from typing import Final

_RUN: Final = r"(?P<type>[a-z_]+)__(?P<day>\d{4}-\d{2}-\d{2})(?:T(?P<minute>\d{2}:\d{2})\S*)?"


def run_in_words(run_id: str, started_by: str | None = None) -> str:
    """Return which run it is, such as "the nightly run of 2026-11-25" or "a run that ada started on 2026-11-25 14:20 UTC".

    Args:
        run_id: Airflow's name of the run.
        started_by: the person who started it by hand, where that is known.
    """
    found = re.fullmatch(_RUN, run_id)
    if found is None:
        return f"the run {run_id}"
    if found["type"] == "scheduled":
        return f"the nightly run of {found['day']}"
    at = f"{found['day']} {found['minute']} UTC" if found["minute"] else found["day"]
    if found["type"] == "manual":
        return f"a run that {started_by} started on {at}" if started_by else f"a run started by hand on {at}"
    return f"the run of {at}"
