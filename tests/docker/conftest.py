from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.container_stack import Stack


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
