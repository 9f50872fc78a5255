"""Files that somebody harms by hand, and what the next run of ingest, resize, augment and organize makes of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.stages.data_set import DataSet, results, run_data_side
from tests.strange_files import flipped

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda content: None,
    "emptied": lambda content: b"",
    "garbage": lambda content: b"garbage",
    "truncated": lambda content: content[: len(content) // 2],
    "appended to": lambda content: content + b"more",
    "touched": lambda content: content,
    "one byte flipped": flipped,
}
PLACES = {
    "processed_images/*.jpg": "resize",
    "processed_images/augmented/*.jpg": "augment",
    "processed_images/output/*/*.jpg": "resize",  # harmed through the link, under both names
    "tables/ingest/*.parquet": "ingest",
    "tables/resize/*.parquet": "resize",
    "tables/augment/*.parquet": "augment",
    "catalog.parquet": "",
    "manifest.parquet": "",
}
"""The stage that does its work for one image again when a file of these is harmed."""

CASES = [
    (place, damage)
    for place in PLACES
    for damage in DAMAGES
    if place != "catalog.parquet"
    or damage in ("deleted", "touched")  # a damaged one: tests/stages/test_damaged_records.py
]
QUICK = CASES[::4]


@pytest.mark.parametrize(
    ("place", "damage"), [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in CASES]
)
def test_a_harmed_file_is_restored_and_nothing_else_is_done_again(processed: DataSet, place: str, damage: str) -> None:
    before = results(processed.folder)
    path = min(processed.folder.glob(place))
    content = DAMAGES[damage](path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    reports = run_data_side(processed.config())
    assert results(processed.folder) == before
    is_whole = damage == "touched" or (damage == "deleted" and "output" in place)  # its other name is left
    done = {stage: reports[stage].done for stage in ("ingest", "resize", "augment") if reports[stage].done}
    assert done == ({PLACES[place]: 1} if PLACES[place] and not is_whole else {})
    assert reports["organize"].details["manifest_changed"] == (place == "manifest.parquet" and damage != "touched")
    assert not any(report.done for report in run_data_side(processed.config()).values())


def test_a_touched_original_is_read_but_nothing_follows_from_it(processed: DataSet) -> None:
    before = results(processed.folder)
    processed.touch(processed.rows()[0]["image"])
    reports = run_data_side(processed.config())
    assert {stage: report.done for stage, report in reports.items() if report.done} == {"ingest": 1}
    assert results(processed.folder) == before
