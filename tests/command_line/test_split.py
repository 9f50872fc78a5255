"""`skinlesion split` as its user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from tests.trained import skinlesion

from skinlesion.data.split import DECISION_COLUMNS, HELD_OUT, TRAIN
from skinlesion.data.split_table import SplitTable, written
from skinlesion.foundation import layout
from skinlesion.foundation.tables import empty, read_table, write_table


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Return a data set of which nothing is left but the split of two images."""
    table = pd.DataFrame({"key": ["image:a", "image:b"], "split": [TRAIN, HELD_OUT]}).astype("str")
    written(tmp_path, SplitTable(empty(DECISION_COLUMNS), (), None), table)
    return tmp_path


def test_the_split_in_force_is_shown(dataset: Path) -> None:
    ended = skinlesion("split", "show", "--dataset", dataset, "--models", dataset / "models")
    assert ended.stdout.startswith("The split is generation 1 (") and "1 held out" in ended.stdout
    nothing = skinlesion("split", "show", "--dataset", dataset / "none", "--models", dataset / "models")
    assert "There is no split" in nothing.stdout


def test_a_person_accepts_an_edited_split_with_a_reason(dataset: Path) -> None:
    path, places = layout.split(dataset), ("--dataset", dataset, "--models", dataset / "models")
    write_table(path, read_table(path, DECISION_COLUMNS).assign(split=HELD_OUT), DECISION_COLUMNS)
    stopped = skinlesion("split", "show", *places)
    assert (
        stopped.returncode == 2
        and "skinlesion split accept --reason" in stopped.stderr
        and "Traceback" not in stopped.stderr
    )
    assert skinlesion("split", "accept", *places).returncode == 2
    accepted = skinlesion("split", "accept", "--reason", "the lesions were named wrongly", *places)
    assert accepted.returncode == 0 and "Accepted as generation 1" in accepted.stdout
    (line,) = layout.split_history(dataset).read_text().splitlines()
    assert json.loads(line)["reason"] == "the lesions were named wrongly"
    shown = skinlesion("split", "show", *places).stdout
    assert "accepted generation 1" in shown and "with 2 keys (2 held out)" in shown
