"""The type of what the fixture `make_once` of conftest.py returns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MakeOnce = Callable[[str, Callable[[Path], None]], Path]
"""From a name and a function that fills a folder to the folder, which is filled once in a run."""
