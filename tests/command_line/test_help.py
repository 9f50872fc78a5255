"""What `--help` says."""

from __future__ import annotations

import re

import pytest
from tests.trained import skinlesion

from skinlesion.command_line.main import PANELS
from skinlesion.command_line.stage_help import STAGE_HELP
from skinlesion.stages.pipeline import PREPARING, STAGES


def test_the_commands_are_listed_in_groups_in_the_order_of_use() -> None:
    shown = skinlesion("--help").stdout
    panels = re.findall(r"─ (.+?) ─", shown)
    assert panels == ["Options", *PANELS]
    groups = dict(zip(PANELS, re.split("|".join(f"─ {panel} ─" for panel in PANELS), shown)[1:], strict=True))
    for panel, command in (("Run", "run"), ("Look", "metrics"), ("Decide", "models"), ("Predict", "serve")):
        assert f"│ {command} " in groups[panel]
    for stage in STAGE_HELP:
        assert f"│ {stage} " in groups["One stage alone"]


def test_the_list_of_commands_fits_a_terminal_and_cuts_no_word() -> None:
    for words in ((), ("run",), ("models",), ("models", "show"), ("predict",)):
        shown = skinlesion(*words, "--help").stdout
        assert max(map(len, shown.splitlines())) <= 80
        assert "…" not in shown


@pytest.mark.parametrize("stage", [*PREPARING, *STAGES])
def test_a_stages_help_says_what_it_reads_and_what_it_leaves(stage: str) -> None:
    shown = " ".join(skinlesion(stage, "-h").stdout.split())
    summary, details = STAGE_HELP[stage].split("\n\n")
    assert "\n" not in summary
    assert summary in shown
    assert " ".join(details.split()) in shown
    assert re.search(r"Reads .+ Leaves ", shown)
