from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from tests.data.labels.tables import Join, write_tables

from skinlesion.data.labels.join import join_tables
from skinlesion.data.labels.joined import Labels


@pytest.fixture
def join(tmp_path: Path) -> Join:
    def join(*contents: str | bytes, supplements: Collection[int] = (), **settings: Any) -> Labels:
        paths = write_tables(tmp_path, contents)
        return join_tables(paths, [paths[number - 1] for number in supplements], **settings)

    return join
