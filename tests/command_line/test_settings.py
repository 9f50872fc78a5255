from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from skinlesion.command_line.main import app
from skinlesion.foundation.errors import DataError
from skinlesion.stages.settings import SECTION_OF, PipelineConfig


def settings(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["settings", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_every_setting_is_listed_once_and_no_line_is_wider_than_a_terminal() -> None:
    lines = settings().splitlines()
    named = [found[1] for line in lines if (found := re.match(r"  (\w+) = ", line))]
    assert named == list(SECTION_OF)
    assert max(map(len, lines)) <= 80


def test_nothing_is_cut() -> None:
    text = " ".join(settings().split())
    for field in PipelineConfig.model_fields.values():
        assert field.description
        assert " ".join(field.description.split()) in text


def test_a_section_is_listed_alone() -> None:
    lines = settings("--section", "augmentation").splitlines()
    assert lines[0] == "Augmentation"
    assert {name for name in SECTION_OF if any(line.startswith(f"  {name} = ") for line in lines)} == {
        name for name, section in SECTION_OF.items() if section == "Augmentation"
    }


def test_a_word_is_searched_in_names_and_texts() -> None:
    found = [described["name"] for described in json.loads(settings("--search", "EPOCH", "--json"))]
    assert {"epochs", "head_epochs", "warm_epochs", "patience"} <= set(found)
    assert "dropout" not in found


def test_json_has_what_a_program_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_EPOCHS", "3")
    described = next(found for found in json.loads(settings("--json")) if found["name"] == "epochs")
    assert described == {
        "name": "epochs",
        "section": "Training",
        "title": "Epochs",
        "description": PipelineConfig.model_fields["epochs"].description,
        "value": 3,
        "default": 16,
        "allowed": "at least 1, at most 500",
        "choices": [],
        "environment": "SKINLESION_EPOCHS",
    }


def test_a_value_that_differs_from_the_default_shows_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SKINLESION_EPOCHS", "3")
    assert "epochs = 3  (at least 1, at most 500)  [default 16]" in settings("--search", "epochs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--section", "Trainign"), r"no section `Trainign`\. Did you mean `training`\? Sections: Data, "),
        (("--search", "quantum"), "No setting has `quantum`"),
    ],
)
def test_what_is_not_there_is_said(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        settings(*arguments)
