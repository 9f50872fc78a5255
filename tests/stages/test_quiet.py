"""A stage that knows from a look that nothing is new: it says the same as one that does all its work, and misses nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stages.data_set import DataSet, copy_tree, jpeg, results, run_data_side, snapshot
from tests.strange_files import flipped

from skinlesion.data.checks.gate import check_and_report
from skinlesion.foundation import layout
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages import ingest as ingest_stage
from skinlesion.stages import resize as resize_stage
from skinlesion.stages.pipeline import run_stage
from skinlesion.stages.quiet import look, sights
from skinlesion.stages.quiet.sights import noted_path

DATA_SIDE = ("ingest", "resize", "augment", "organize")


def counts(reports: dict[str, StageReport]) -> dict[str, StageReport]:
    return {stage: report.model_copy(update={"seconds": 0}) for stage, report in reports.items()}


def notes(dataset: DataSet) -> Path:
    return layout.tables(dataset.folder, "quiet")


@pytest.fixture
def seen(processed: DataSet) -> DataSet:
    """Return six images after two runs of the data side: each stage has noted all that it saw."""
    run_data_side(processed.config())
    return processed


@pytest.fixture(scope="module")
def settled(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Return six images of which each stage has noted all that it saw. A test may change them if it lets all be noted again."""
    folder = tmp_path_factory.mktemp("settled") / "dataset"
    copy_tree(undisturbed, folder)
    run_data_side(DataSet(folder).config())
    return DataSet(folder)


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the stages that do more than look, as they come."""
    found: list[str] = []
    note = look.Look.note

    def noting(self: look.Look, report: StageReport) -> None:
        found.append(report.stage)
        note(self, report)

    monkeypatch.setattr(look.Look, "note", noting)
    return found


def test_a_stage_with_nothing_new_only_looks_and_says_what_it_says_after_all_its_work(
    seen: DataSet, worked: list[str]
) -> None:
    quiet = run_data_side(seen.config())
    assert worked == []
    shutil.rmtree(notes(seen))
    assert counts(quiet) == counts(run_data_side(seen.config()))
    assert worked == list(DATA_SIDE)


def test_the_first_night_after_one_with_work_is_quiet(few: DataSet, worked: list[str]) -> None:
    run_data_side(few.config())
    worked.clear()
    reports = run_data_side(few.config())
    assert worked == ["organize"] * ("organize" in worked)
    assert all(report.done == 0 and report.skipped > 0 for report in reports.values())


def replace_unseen(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Give a file other content, and its old times as far as anybody can."""
    state = path.stat()
    content = change(path.read_bytes())
    path.unlink()  # the images are links to those that all tests share
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def first_of(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


CHANGES: dict[str, Callable[[DataSet], object]] = {
    "a new image": lambda one: one.add("new", jpeg(1)),
    "another diagnosis": lambda one: one.relabel({one.rows()[0]["image"]}, dx="mel"),
    "an image replaced by one of its size": lambda one: replace_unseen(
        one.original(f"{one.rows()[1]['image']}.jpg"), flipped
    ),
    "an image that is gone": lambda one: one.original(f"{one.rows()[2]['image']}.jpg").unlink(),
    "a resized image that is gone": lambda one: first_of(layout.processed(one.folder), "*.jpg").unlink(),
    "a stray among the resized images": lambda one: (layout.processed(one.folder) / "stray.jpg").write_bytes(b"x"),
    "a copy that is gone": lambda one: first_of(layout.augmented(one.folder), "*.jpg").unlink(),
    "a link that is gone": lambda one: first_of(layout.output(one.folder), "*/*.jpg").unlink(),
    "a stray among the links": lambda one: (
        first_of(layout.output(one.folder), "*/*.jpg").with_name("stray.jpg").write_bytes(b"x")
    ),
    "a damaged part of ingest's table": lambda one: replace_unseen(
        first_of(layout.tables(one.folder, "ingest"), "*.parquet"), flipped
    ),
    "a manifest that is gone": lambda one: layout.manifest(one.folder).unlink(),
    "pairs of duplicates that are gone": lambda one: shutil.rmtree(layout.tables(one.folder, "duplicates")),
    "a report that is gone": lambda one: layout.data_report(one.folder).unlink(),
    "a report of data that did not pass": lambda one: layout.failed_data_report(one.folder).write_text("failed"),
    "a half-written file": lambda one: (one.folder / ".catalog.host-1-1.partial.parquet").write_bytes(b""),
    "a damaged note": lambda one: noted_path(one.folder, "resize").write_text("{"),
    "a note of another run": lambda one: shutil.copy(
        noted_path(one.folder, "resize"), noted_path(one.folder, "augment")
    ),
}
"""What somebody changes in a data set, in which the changes before may have been made too."""


@pytest.mark.parametrize("change", CHANGES)
def test_what_somebody_changed_is_found_as_without_the_notes(settled: DataSet, change: str) -> None:
    CHANGES[change](settled)
    found = run_data_side(settled.config())
    left = results(settled.folder)
    shutil.rmtree(notes(settled))
    whole = run_data_side(settled.config())
    assert [report.done for report in whole.values()] == [0] * len(DATA_SIDE), "nothing was missed"
    assert results(settled.folder) == left
    for stage, report in whole.items():
        assert (found[stage].seen, found[stage].refused) == (report.seen, report.refused), stage


def test_other_settings_and_another_program_are_work(
    seen: DataSet, worked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("resize", seen.config().model_copy(update={"jpeg_quality": 90}))
    assert worked == ["resize"]
    monkeypatch.setattr(look, "program", lambda: "another")
    run_stage("resize", seen.config().model_copy(update={"jpeg_quality": 90}))
    assert worked == ["resize", "resize"]


def test_a_note_is_not_believed_for_ever(seen: DataSet, worked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + look.VALID.total_seconds() + 1
    monkeypatch.setattr(time, "time", lambda: later)
    run_stage("resize", seen.config())
    assert worked == ["resize"]


def test_a_file_that_is_harmed_while_the_stage_works_is_found_by_the_next_run(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("ingest", few.config())
    resize_one = resize_stage._resize_one
    harmed: list[Path] = []

    def harming(job: object, **options: object) -> object:
        if not harmed and (made := sorted(layout.processed(few.folder).glob("*.jpg"))):
            harmed.append(made[0])
            made[0].write_bytes(b"harmed")
        return resize_one(job, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(resize_stage, "_resize_one", harming)
    run_stage("resize", few.config().model_copy(update={"workers": 1}))
    monkeypatch.undo()
    assert harmed[0].read_bytes() == b"harmed"
    assert run_stage("resize", few.config()).done == 1
    assert harmed[0].read_bytes() != b"harmed"


def test_an_image_that_comes_while_ingest_works_is_new_to_the_next_run(
    few: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_and_report

    def and_then(*arguments: object) -> None:
        check(*arguments)  # type: ignore[arg-type]
        few.add("late", jpeg(1))

    monkeypatch.setattr(ingest_stage, "check_and_report", and_then)
    run_stage("ingest", few.config())
    monkeypatch.undo()
    assert run_stage("ingest", few.config()).done == 1


def test_shards_note_each_their_own(seen: DataSet, worked: list[str]) -> None:
    for _ in range(2):
        for shard in Shard.every(2):
            run_stage("resize", seen.config(), shard)
    assert worked == ["resize", "resize"]
    first_of(layout.processed(seen.folder), "*.jpg").unlink()
    done = [run_stage("resize", seen.config(), shard).done for shard in Shard.every(2)]
    assert sorted(done) == [0, 1]


def test_a_full_disk_keeps_no_stage_from_ending(
    seen: DataSet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: sights.Noted, path: Path) -> None:
        raise OSError(28, "No space left on device")

    shutil.rmtree(notes(seen))
    monkeypatch.setattr(sights.Noted, "write", full)
    before = snapshot(seen.folder)
    assert run_stage("resize", seen.config()).done == 0
    assert snapshot(seen.folder) == before
    assert "the next run looks at everything" in caplog.text


def test_a_quiet_stage_loads_no_pandas_and_no_pyarrow(seen: DataSet) -> None:
    script = (
        "import logging, sys; logging.basicConfig(level=10); from skinlesion.stages.pipeline import run_stage; from skinlesion.stages.settings import PipelineConfig\n"
        f"config = PipelineConfig.of({{'dataset': {str(seen.folder)!r}, 'models': {str(seen.config().models)!r}, "
        f"**{ {name: value for name, value in seen.config().model_dump(mode='json').items() if name not in ('dataset', 'models')}!r}}})\n"
        f"print([run_stage(stage, config).done for stage in {DATA_SIDE}], sorted({{'pandas', 'pyarrow', 'cv2'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[0, 0, 0, 0] []", done.stderr
