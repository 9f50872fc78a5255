"""The split is not trusted blindly: what does not follow from what is known stops, and a person may accept it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.measured import metrics_record
from tests.registry.trained import trained
from tests.stages.data_set import DataSet, copy_tree, ingest_killed_before_the_catalog, jpeg, run_data_side, snapshot
from tests.training_record import write_learnt, write_training_record

from skinlesion.data.catalog import split_of_catalog
from skinlesion.data.manifest import trusted_manifest
from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, TRAIN
from skinlesion.data.split_table import _digest, read_split
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.tables import read_table, write_table
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.register import register
from skinlesion.registry.versions import splits_known
from skinlesion.stages.accept_split import accept_split, read_acceptances
from skinlesion.stages.ingest import ingest
from skinlesion.stages.pipeline import run_stage

Edit = Callable[[pd.DataFrame], pd.DataFrame]


def decisions(dataset: DataSet) -> pd.DataFrame:
    return read_table(layout.split(dataset.folder), DECISION_COLUMNS)


def next_night(dataset: DataSet, number: int = 1) -> None:
    """Bring images of a new lesion, so that the split changes."""
    dataset.add(f"new{number}", jpeg(100 + number))


def with_sides_of_another_fraction(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(split=np.where(np.arange(len(table)) % 2 == 0, HELD_OUT, TRAIN))


EDITS: dict[str, Edit] = {
    "another held_out_fraction": with_sides_of_another_fraction,
    "all on one side": lambda table: table.assign(split=TRAIN),
    "a value that is no side": lambda table: table.assign(split=table["split"].replace(TRAIN, "training")),
    "an empty side": lambda table: table.assign(split=["", *table["split"].iloc[1:]]),
    "a key twice": lambda table: pd.concat([table, table.head(1)], ignore_index=True),
    "both sides for a key": lambda table: pd.concat([table, table.head(1).assign(split=other_side)], ignore_index=True),
    "rows are gone": lambda table: table.iloc[3:].reset_index(drop=True),
    "another order": lambda table: table[::-1].reset_index(drop=True),
    "no row": lambda table: table.head(0),
}


def other_side(table: pd.DataFrame) -> pd.Series:
    return table["split"].map({TRAIN: HELD_OUT, HELD_OUT: TRAIN})


SAID = {
    ("a value that is no side", False): r"have no side, the first: .* with training, not one of train, held_out",
    ("both sides for a key", False): r"the first: file:.* \(held_out and train\)",
    ("another held_out_fraction", False): "it has no digest",
}
"""What the error says of some edits that do not keep the notes of the file."""


@pytest.mark.parametrize("keeps_notes", [False, True])
@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_split_stops_ingest_and_moves_nothing(processed: DataSet, edit: str, keeps_notes: bool) -> None:
    """An edited table moved 17 of 60 images, or all, to the other side, and no figure compared any more."""
    path = layout.split(processed.folder)
    notes = {name.decode(): note.decode() for name, note in pq.read_metadata(path).metadata.items()}
    write_table(path, EDITS[edit](decisions(processed)), DECISION_COLUMNS, notes if keeps_notes else None)
    before = snapshot(processed.folder)
    with pytest.raises(DataError, match=r"split\.parquet was altered.*Restore it .*skinlesion split accept") as error:
        ingest(processed.config())
    assert re.search(SAID.get((edit, keeps_notes), ""), str(error.value))
    assert snapshot(processed.folder) == before


def test_the_split_of_last_week_beside_todays_catalog_stops_ingest(processed: DataSet) -> None:
    """Restored from a back-up, it moved three images to the other side without a word."""
    today = restored(processed)
    before = snapshot(processed.folder)
    with pytest.raises(DataError, match=r"generation 1 .* from generation 2 .*catalog\.parquet knows.*Restore"):
        ingest(processed.config())
    assert snapshot(processed.folder) == before
    layout.catalog(processed.folder).unlink()
    with pytest.raises(DataError, match=r"manifest\.parquet knows"):
        ingest(processed.config())
    layout.split(processed.folder).write_bytes(today)
    ingest(processed.config())


def test_a_damaged_catalog_hides_no_split_of_last_week(processed: DataSet) -> None:
    path, catalog = layout.split(processed.folder), layout.catalog(processed.folder)
    last_week = path.read_bytes()
    next_night(processed)
    run_data_side(processed.config())
    catalog.write_bytes(catalog.read_bytes()[:100])
    path.write_bytes(last_week)
    with pytest.raises(DataError, match=r"manifest\.parquet knows"):
        ingest(processed.config())
    layout.manifest(processed.folder).write_bytes(b"")
    with pytest.raises(DataError, match=r"catalog\.parquet cannot be read.*nothing else knows it.*or remove it"):
        ingest(processed.config())


def test_a_split_of_another_data_set_stops_ingest(processed: DataSet, sample: DataSet, tmp_path: Path) -> None:
    other = DataSet(tmp_path / "other" / "dataset").borrow(sample, sample.rows()[6:12])
    ingest(other.config())
    layout.split(processed.folder).write_bytes(layout.split(other.folder).read_bytes())
    with pytest.raises(DataError, match="does not follow from generation 1"):
        ingest(processed.config())


def test_an_older_catalog_beside_todays_split_is_brought_up_to_date(processed: DataSet) -> None:
    """The catalog can be made again, so it need not be restored with the split."""
    path = layout.catalog(processed.folder)
    last_week = path.read_bytes()
    next_night(processed)
    run_data_side(processed.config())
    today = path.read_bytes()
    for before in (last_week, None):
        path.unlink()
        if before is not None:
            path.write_bytes(before)
        ingest(processed.config())
        assert path.read_bytes() == today


@pytest.mark.parametrize("kills", [1, 2, 3])
def test_nights_that_are_killed_between_split_and_catalog_go_on_by_themselves(processed: DataSet, kills: int) -> None:
    for number in range(kills):
        next_night(processed, number)
        ingest_killed_before_the_catalog(processed.config())
    sides = decisions(processed)
    ingest(processed.config())
    assert decisions(processed).equals(sides)
    assert split_of_catalog(processed.folder) == read_split(processed.folder).version
    assert split_of_catalog(processed.folder).generation == 1 + kills


def test_another_held_out_fraction_moves_nothing(processed: DataSet) -> None:
    before, split = processed.column("split"), layout.split(processed.folder).read_bytes()
    for fraction in (0.05, 0.5, 0.2):
        assert run_data_side(processed.config(held_out_fraction=fraction))["ingest"].done == 0
        assert (processed.column("split"), layout.split(processed.folder).read_bytes()) == (before, split)
    next_night(processed)
    run_data_side(processed.config(held_out_fraction=0.5))
    assert before.items() <= processed.column("split").items()


@pytest.fixture
def registered(processed: DataSet) -> DataSet:
    """Return the data set beside a registry whose version was trained on its second generation."""
    next_night(processed)
    run_data_side(processed.config())
    candidate = trained(processed.config().models, "candidate")
    write_training_record(candidate, split=split_of_catalog(processed.folder))
    register(processed.config().models, candidate)
    return processed


@pytest.mark.parametrize("stage", ["ingest", "train", "evaluate"])
def test_a_data_set_of_last_week_beside_todays_registry_stops(
    registered: DataSet, undisturbed: Path, tmp_path: Path, stage: str
) -> None:
    """Split, catalog and manifest fit each other, but a version learnt what they hold out."""
    last_week = tmp_path / "restored" / "dataset"
    last_week.parent.mkdir()
    copy_tree(undisturbed, last_week)
    settings = registered.config(dataset=last_week)
    with pytest.raises(DataError, match=r"does not follow from generation 2 .*, which version 1 of .*models knows"):
        run_stage(stage, settings)


def test_with_the_whole_data_set_lost_no_other_split_is_drawn_beside_the_registry(
    registered: DataSet, sample: DataSet, tmp_path: Path
) -> None:
    new = DataSet(tmp_path / "new" / "dataset").borrow(sample, sample.rows()[:6])
    settings = registered.config(dataset=new.folder)
    with pytest.raises(DataError, match=r"is missing though version 1 of .*models knows its generation 2"):
        ingest(settings)
    accept_split(settings, actor="ann", reason="another hospital")
    run_data_side(settings)
    _, split = trusted_manifest(new.folder, splits_known(settings.models))
    assert split.generation == 4


# --- A person accepts ---------------------------------------------------------------------------------------------


def restored(dataset: DataSet) -> bytes:
    """Bring a night, put the split of the night before back, and return today's."""
    path = layout.split(dataset.folder)
    last_week = path.read_bytes()
    next_night(dataset)
    run_data_side(dataset.config())
    today = path.read_bytes()
    path.write_bytes(last_week)
    return today


def test_who_accepts_a_split_is_noted_with_what_it_means_and_the_nights_go_on(processed: DataSet) -> None:
    today = restored(processed)
    done = accept_split(processed.config(), actor="ann", reason="the other one is wrong")
    assert (done.actor, done.reason, done.split.generation) == ("ann", "the other one is wrong", 3)
    assert set(done.instead_of) == {"catalog.parquet", "manifest.parquet"}
    assert done.meaning[0].startswith("Of 7 images, ")
    assert read_acceptances(processed.folder) == [done]
    run_data_side(processed.config())
    layout.split(processed.folder).write_bytes(today)
    with pytest.raises(DataError, match="does not follow from generation"):
        ingest(processed.config())


def test_a_version_that_was_measured_before_is_named_with_what_it_learnt(registered: DataSet) -> None:
    settings = registered.config()
    candidate = Candidate(layout.candidate(settings.models, "candidate"))
    manifest, split = trusted_manifest(registered.folder, ())
    rows = manifest[(manifest["split"] == TRAIN) & (manifest["copy"] == 0)]
    write_learnt(candidate, rows)
    write_training_record(candidate, split=split)
    register(settings.models, candidate, metrics_record(run="candidate", split=split))
    all_held = decisions(registered).assign(split=HELD_OUT)
    write_table(layout.split(registered.folder), all_held, DECISION_COLUMNS)
    done = accept_split(settings, actor="ann", reason="a trial")
    assert f"{len(rows)} move from training to the held-out side" in done.meaning[0]
    assert f"Version 1, measured on 420 images of another split, learnt {len(rows)} of the 7 images" in done.meaning[1]


def test_what_is_no_split_or_follows_already_is_not_accepted(processed: DataSet) -> None:
    settings = processed.config()
    with pytest.raises(DataError, match="there is nothing to accept"):
        accept_split(settings, actor="ann", reason="why not")
    path = layout.split(processed.folder)
    write_table(path, EDITS["both sides for a key"](decisions(processed)), DECISION_COLUMNS)
    with pytest.raises(DataError, match=r"cannot be accepted: 2 rows have the key of another row"):
        accept_split(settings, actor="ann", reason="why not")
    write_table(path, decisions(processed).drop_duplicates("key").assign(split=TRAIN), DECISION_COLUMNS)
    with pytest.raises(DataError, match="No reason is given"):
        accept_split(settings, actor="ann", reason=" ")
    assert read_acceptances(processed.folder) == []


def test_a_digest_of_a_million_rows_takes_well_under_a_second() -> None:
    keys = pd.Series([f"file:{number:064x}" for number in range(1_000_000)], dtype="str")
    table = pd.DataFrame({"key": keys, "split": pd.Series([TRAIN] * len(keys), dtype="str")})
    started = time.process_time()
    _digest(table, ("a" * 16,) * 3650, 3651)
    assert time.process_time() - started < 1
