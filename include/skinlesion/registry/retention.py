"""Which versions keep their files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from skinlesion.foundation import layout
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import METRICS, MODEL_CARD, REPORT, TRAINING, VERDICT
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import writing

KEPT_ALWAYS: Final = frozenset({METRICS, VERDICT, TRAINING, MODEL_CARD, REPORT})
"""Small, and what a later reader of the history wants to see."""


def remove_old_files(models: Path, keep: int) -> list[int]:
    """Remove the model files of the versions beyond the last `keep` ones; return the numbers of those versions.

    The model in service and every former champion keep their files, and so does a version that passed the gate and was not
    yet put in service. Every version keeps its figures, verdict and report.
    """
    with writing(models):
        registry = Registry.read(models)
        with_files = [version for version in registry.versions if version.has_files]
        old = [version for version in with_files[keep:] if _may_go(version)]
        kept_runs = {version.run for version in with_files if version not in old}
        for version in old:
            if version.run not in kept_runs:
                _remove_files(models, version)
            reason = f"Only the last {keep} versions and former champions keep their files"
            entry = HistoryEntry(
                at=history.now(),
                what="removed",
                actor="retention",
                version=version.number,
                reason=reason,
                verdict=version.verdict,
            )
            history.append(models, entry)
    return [version.number for version in old]


def _may_go(version: Version) -> bool:
    is_waiting = version.state == "candidate" and version.verdict is not None and version.verdict.passed
    return version.state in ("candidate", "rejected") and not is_waiting


def _remove_files(models: Path, version: Version) -> None:
    folder = layout.candidate(models, version.run)
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in KEPT_ALWAYS:
            path.unlink()
