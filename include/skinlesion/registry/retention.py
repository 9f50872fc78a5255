"""Which versions keep their files."""

from __future__ import annotations

import shutil
from typing import Final

from skinlesion.foundation import layout
from skinlesion.foundation.settings import PipelineConfig
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import METRICS, MODEL_CARD, REPORT, TRAINING, VERDICT
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import writing

KEPT_ALWAYS: Final = frozenset({METRICS, VERDICT, TRAINING, MODEL_CARD, REPORT})
"""Small, and what a later reader of the history wants to see."""


def remove_old_files(config: PipelineConfig) -> list[int]:
    """Remove the files of versions beyond the last `keep_versions`; give their numbers.

    The model in service and every former champion keep theirs, so does a version that passed and was not yet put in
    service. Figures, verdict and report stay of each.
    """
    with writing(config.models):
        registry = Registry.read(config.models)
        with_files = [version for version in registry.versions if version.has_files]
        old = [version for version in with_files[config.keep_versions :] if _may_go(version)]
        kept_runs = {version.run for version in with_files if version not in old}
        for version in old:
            if version.run not in kept_runs:
                _remove_files(config, version)
            reason = f"Only the last {config.keep_versions} versions and former champions keep their files"
            entry = HistoryEntry(history.now(), "removed", "retention", version.number, None, reason, version.verdict)
            history.append(config.models, entry)
    return [version.number for version in old]


def _may_go(version: Version) -> bool:
    is_waiting = version.state == "candidate" and version.verdict is not None and version.verdict.passed
    return version.state in ("candidate", "rejected") and not is_waiting


def _remove_files(config: PipelineConfig, version: Version) -> None:
    folder = layout.candidate(config.models, version.run)
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in KEPT_ALWAYS:
            path.unlink()
