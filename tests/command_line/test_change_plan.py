"""`skinlesion change-plan`."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.trained import skinlesion

from skinlesion.promotion.change_plan.plan import DEFAULT


def test_it_writes_the_document_and_says_which_plan_is_in_force(tmp_path: Path) -> None:
    target, plan = tmp_path / "plan.html", tmp_path / "none.yaml"
    ended = skinlesion(
        "change-plan", "--output", target, "--models", tmp_path / "models", "--set", f"change_plan={plan}"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"There is no {plan}: the program's default plan is in force." in ended.stdout
    assert "<h1>Change plan and change records</h1>" in target.read_text()


def test_the_default_plan_can_be_printed_and_is_then_the_plan() -> None:
    assert skinlesion("change-plan", "--print-default").stdout == DEFAULT.read_text()


@pytest.mark.parametrize("name", ["plan.txt", "no/folder/plan.html", "."])
def test_a_document_that_cannot_be_written_there_is_refused(tmp_path: Path, name: str) -> None:
    ended = skinlesion("change-plan", "--output", tmp_path / name, "--models", tmp_path / "models")
    assert ended.returncode == 2
    assert "expected" in ended.stderr
