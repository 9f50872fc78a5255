from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.prediction.real_server import Models, Served, add_candidate, served

from skinlesion.prediction.serving.grad_cam_process import Overlay
from skinlesion.registry.switch import promote


@pytest.fixture
def empty_models(two_classifiers: Path, tmp_path: Path) -> Models:
    """Return a models folder with nothing in service."""
    (tmp_path / "models").mkdir()
    return Models(tmp_path / "models", two_classifiers)


@pytest.fixture
def models(empty_models: Models) -> Models:
    """Return a models folder with version a in service, with `RULE`."""
    empty_models.switch_to("a")
    return empty_models


@pytest.fixture
def waiting(two_classifiers: Path, tmp_path: Path) -> Path:
    """Return a models folder with version 1, run-a, in service, and version 2, run-b, that waits."""
    for name in ("a", "b"):
        add_candidate(tmp_path / "models", two_classifiers, name, f"run-{name}")
    promote(tmp_path / "models", 1, actor="test", reason="test")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def overlay() -> Overlay | None:
    """Return what replaces Grad-CAM in `shared`, for modules that have a fixture of this name."""
    return None


@pytest.fixture(scope="module")
def shared(
    two_classifiers: Path, tmp_path_factory: pytest.TempPathFactory, overlay: Overlay | None
) -> Iterator[Served]:
    """Serve version a, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("shared") / "models"
    folder.mkdir()
    Models(folder, two_classifiers).switch_to("a")
    with served(folder, overlay=overlay) as server:
        yield server
