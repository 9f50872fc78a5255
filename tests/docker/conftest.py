from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.container_stack import Stack

WANTED = "TEST_DOCKER"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These take half an hour, a Docker daemon and some 20 GB of disk: `make test-docker` alone runs them."""
    if os.environ.get(WANTED):
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs Docker and half an hour: make test-docker"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A fresh clone, of HEAD or of the module's REVISION; removed with its volumes in the end."""
    weights = Path(os.environ["WEIGHTS"]).resolve() if "WEIGHTS" in os.environ else None
    revision = getattr(request.module, "REVISION", "HEAD")
    stack = Stack.cloned(tmp_path_factory.mktemp("docker") / "clone", weights, revision)
    try:
        yield stack
    finally:
        stack.remove()
