"""What a person reads who typed something wrong, or stopped a command."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.trained import skinlesion


@pytest.mark.parametrize("option", ["--epochs", "--head-epochs", "--head_epochs"])
def test_a_setting_that_is_typed_as_an_option_is_named_as_one(option: str) -> None:
    ended = skinlesion("run", option, "3")
    assert ended.returncode == 2
    name = option.removeprefix("--").replace("-", "_")
    assert f"It is a setting: expected --set {name}=VALUE." in " ".join(ended.stderr.replace("│", "").split())


def test_an_option_that_is_none_is_no_setting_either() -> None:
    ended = skinlesion("run", "--foo", "3")
    assert ended.returncode == 2
    assert "No such option: --foo" in ended.stderr
    assert "setting" not in ended.stderr


def test_a_folder_in_the_place_of_a_table_of_labels_is_said(tmp_path: Path) -> None:
    ended = skinlesion("labels", tmp_path)
    assert ended.returncode == 2
    assert f"{tmp_path} is a folder" in ended.stderr
    assert f"--dataset {tmp_path}" in ended.stderr


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skinlesion.data.sources.drawn.sample.write_sample", stopped)
    ended = skinlesion("sample", tmp_path / "new")
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "skinlesion: Stopped. What was finished is kept; run the command again to go on.\n"


def test_ctrl_c_ends_the_server_without_a_complaint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def stopped(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("skinlesion.prediction.serving.server.serve", stopped)
    ended = skinlesion("serve", "--models", tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
