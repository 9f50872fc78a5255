"""What a person reads who typed something wrong, or stopped a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.command_line.called import Skinlesion


@pytest.mark.parametrize("option", ["--epochs", "--head-epochs", "--head_epochs"])
def test_a_setting_that_is_typed_as_an_option_is_named_as_one(skinlesion: Skinlesion, option: str) -> None:
    ended = skinlesion("run", option, "3")
    assert ended.status == 2
    name = option.removeprefix("--").replace("-", "_")
    assert f"It is a setting: expected --set {name}=VALUE." in " ".join(ended.err.replace("│", "").split())


def test_an_option_that_is_none_is_no_setting_either(skinlesion: Skinlesion) -> None:
    ended = skinlesion("run", "--foo", "3")
    assert ended.status == 2
    assert "No such option: --foo" in ended.err
    assert "setting" not in ended.err


def test_a_command_that_does_not_exist_is_answered_with_the_one_that_was_meant(skinlesion: Skinlesion) -> None:
    ended = skinlesion("models", "lsit")
    assert ended.status == 2
    assert "Did you mean 'list'?" in ended.err


def test_a_folder_in_the_place_of_a_table_of_labels_is_said(skinlesion: Skinlesion, tmp_path: Path) -> None:
    ended = skinlesion("labels", tmp_path)
    assert ended.status == 2
    assert f"{tmp_path} is a folder" in ended.err
    assert f"--dataset {tmp_path}" in ended.err


def test_ctrl_c_says_how_to_go_on(skinlesion: Skinlesion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skinlesion.data.sources.drawn.sample.write_sample", stopped)
    ended = skinlesion("sample", tmp_path / "new")
    assert (ended.status, ended.out) == (130, "")
    assert ended.err == "skinlesion: Stopped. What was finished is kept; run the command again to go on.\n"


def test_ctrl_c_ends_the_server_without_a_complaint(
    skinlesion: Skinlesion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skinlesion.prediction.serving.server.serve", stopped)
    assert skinlesion("serve", "--models", tmp_path) == (0, "", "")
