"""The command line, called in the test's own process."""

from __future__ import annotations

import sys

import pytest
from tests.command_line.called import Ended, Skinlesion
from tests.model_house import house, model_files, no_model

from skinlesion.command_line import main as cli

__all__ = ["house", "model_files", "no_model"]


@pytest.fixture
def skinlesion(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Skinlesion:
    """Return a function that calls `skinlesion` with these words, as if they were typed."""

    def call(*words: object) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["skinlesion", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Ended(ended.value.code or 0, *capsys.readouterr())

    return call
