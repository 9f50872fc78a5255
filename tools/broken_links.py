"""Links to the documentation from outside docs/. MkDocs, which checks those inside, loads this file as a hook.

A link that leads nowhere is a warning, which `mkdocs build --strict` makes an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig

ROOT: Final = Path(__file__).resolve().parents[1]

LINKING: Final = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
"""Markdown files at the root whose links are checked."""

MENTIONING: Final = (
    "Makefile",
    "include",
    "docker-compose.yaml",
    "deploy",
    "tools",
    "tests",
    "benchmarks",
    "dags",
    "plugins",
)
"""Files and folders that may name a page of docs/ in a comment or a message."""

log = logging.getLogger("mkdocs.hooks.broken_links")


def on_pre_build(config: MkDocsConfig) -> None:
    """Warn of each broken link."""
    for problem in broken_links(ROOT):
        log.warning("%s", problem)


def broken_links(root: Path) -> Iterator[str]:
    """Yield a sentence for each relative link to a file, and each mention of a page of docs/, that leads nowhere."""
    for name in LINKING:
        for link in re.findall(r"\]\(([^)\s]+)\)", (root / name).read_text()):
            target = link.partition("#")[0]
            if target and ":" not in target and not (root / target).exists():
                yield f"{name} links to {link}, which does not exist."
    for name in MENTIONING:
        for file in sorted(file for file in (root / name, *(root / name).rglob("*")) if file.is_file()):
            for page in re.findall(r"\bdocs/[\w/-]+\.md\b", file.read_text(errors="ignore")):
                if not (root / page).exists():
                    yield f"{file.relative_to(root)} names {page}, which does not exist."
