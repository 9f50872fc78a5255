"""Downloading ImageNet's weights when this machine's disk is full, or the network is away."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from skinlesion.network import quiet_tensorflow
from skinlesion.network.backbone import WeightsUnavailable, find_weights
from skinlesion.network.settings import ModelSettings


def keras_that_raises(monkeypatch: pytest.MonkeyPatch, home: Path, error: Exception) -> None:
    def download(**options: object) -> None:
        raise error

    keras = SimpleNamespace(applications=SimpleNamespace(MobileNetV2=download))
    monkeypatch.setitem(sys.modules, "keras", keras)
    monkeypatch.setattr(quiet_tensorflow, "load", lambda: None)
    monkeypatch.setenv("KERAS_HOME", str(home))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_does_not_count_as_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int) -> None:
    """It went on with other weights, without a word of the disk."""
    wrapped = Exception("URL fetch failure")
    wrapped.__cause__ = OSError(number, "full")
    for error in (OSError(number, "full"), wrapped):
        keras_that_raises(monkeypatch, tmp_path, error)
        with pytest.raises(type(error)) as caught:
            find_weights(ModelSettings(weights="imagenet"))
        assert not isinstance(caught.value, WeightsUnavailable)


def test_without_a_network_the_weights_are_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keras_that_raises(monkeypatch, tmp_path, Exception("URL fetch failure"))
    with pytest.raises(WeightsUnavailable, match="cannot be downloaded"):
        find_weights(ModelSettings(weights="imagenet"))
