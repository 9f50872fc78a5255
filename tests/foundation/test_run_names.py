from __future__ import annotations

import pytest

from skinlesion.foundation.run_names import run_in_words


@pytest.mark.parametrize(
    ("run_id", "started_by", "words"),
    [
        ("scheduled__2026-11-25T02:00:00+00:00", None, "the nightly run of 2026-11-25"),
        ("manual__2026-11-25T14:20:46.280150+00:00", None, "a run started by hand on 2026-11-25 14:20 UTC"),
        ("manual__2026-11-25T14:20:46.280150+00:00", "ada", "a run that ada started on 2026-11-25 14:20 UTC"),
        ("asset_triggered__2026-11-25T14:19:46.3+00:00_zknt85ul", None, "the run of 2026-11-25 14:19 UTC"),
        ("backfill__2026-11-25T02:00:00+00:00", None, "the run of 2026-11-25 02:00 UTC"),
        ("before the congress", "ada", "the run before the congress"),
    ],
)
def test_a_run_is_named_as_people_name_it(run_id: str, started_by: str | None, words: str) -> None:
    assert run_in_words(run_id, started_by) == words
