"""`skinlesion review list` on a data set that was trained on."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.trained import config_of, options
from typer.testing import CliRunner

from skinlesion.command_line.main import app
from skinlesion.data.manifest import read_manifest
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.review.suspects import COLUMNS
from skinlesion.stages.review import labelled, likely_wrong


def test_every_original_is_judged_once_and_training_does_not_see_it(copy_of_trained: Path, tmp_path: Path) -> None:
    dataset, models = copy_of_trained / "dataset", copy_of_trained / "models"
    before = {path for path in layout.features(dataset).rglob("part-*") if path.is_file()}
    command = ["review", "list", "--dataset", str(dataset), "--models", str(models), *options()]
    done = CliRunner().invoke(app, [*command, "--output", str(tmp_path / "list.csv")])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "list.csv")
    assert list(table) == list(COLUMNS)
    stored = {path for path in layout.features(dataset).rglob("part-*") if path.is_file()} - before
    assert {path.parent.name.endswith("-review") for path in stored} == {True}
    written = {path: path.stat().st_mtime_ns for path in stored}
    rows, pooled, _ = labelled(config_of(copy_of_trained))
    originals = read_manifest(dataset)
    assert sorted(rows["image"]) == sorted(originals.loc[originals["copy"] == 0, "image"])
    assert set(rows["split"]) == {"train", "held_out"}
    assert pooled.shape == (len(rows), 1280)
    assert {path: path.stat().st_mtime_ns for path in stored} == written  # nothing was computed again


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Run organize first"):
        likely_wrong(config_of(tmp_path))
