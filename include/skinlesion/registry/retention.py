"""Which versions keep their files."""

from __future__ import annotations

import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from skinlesion.foundation import atomic, layout
from skinlesion.registry import history
from skinlesion.registry.history import SWITCHES, HistoryEntry
from skinlesion.registry.model_files import (
    CHANGE_RECORD,
    CHANGE_RECORD_PAGE,
    METRICS,
    MODEL_CARD,
    REGISTERED,
    REPORT,
    TRAINING,
    VERDICT,
)
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import writing

log = logging.getLogger(__name__)

UNFINISHED_FOR: Final = timedelta(days=30)

KEPT_ALWAYS: Final = frozenset(
    {METRICS, VERDICT, CHANGE_RECORD, CHANGE_RECORD_PAGE, TRAINING, REGISTERED, MODEL_CARD, REPORT}
)
"""Small, and what a later reader of the history wants to see."""


def remove_old_files(models: Path, keep: int, keep_former_champions: int) -> list[int]:
    """Remove the model files of old versions; return the numbers of those versions.

    The last `keep` versions keep their files, and so do the model in service, the `keep_former_champions` versions that were
    there last, the one that a rollback goes to, the reference, and a version that passed the gate and was not yet put in service. Every
    version keeps its figures, verdict and report. What was left half-written beside a version goes too.
    """
    with writing(models) as registry:
        with_files = [version for version in registry.versions if version.has_files]
        kept = _kept_champions(registry, keep_former_champions)
        old = [version for version in with_files[keep:] if _may_go(version) and version.number not in kept]
        kept_runs = {version.run for version in with_files if version not in old}
        for version in old:
            if version.run not in kept_runs:
                _remove_files(models, version)
            reason = (
                f"Only the last {keep} versions and the last {keep_former_champions} former champions keep their files"
            )
            entry = HistoryEntry(
                at=history.now(),
                what="removed",
                actor="retention",
                version=version.number,
                reason=reason,
                verdict=version.verdict,
            )
            history.append(models, entry)
        _remove_unfinished(models, {version.run for version in registry.versions})
    return [version.number for version in old]


def _remove_unfinished(models: Path, registered: set[str]) -> None:
    """Remove half-written files of ended writers, and interrupted trainings that nobody has gone on with for a month."""
    for folder in layout.candidates(models).glob("*/"):
        if folder.name.startswith("."):
            continue
        # The gate writes beside a version too. If another version is judged next, nobody else comes past its folder again.
        atomic.remove_partials(folder, own=True)
        if folder.name in registered or (folder / TRAINING).exists():
            continue
        changed = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")) if path.exists())
        if time.time() - changed > UNFINISHED_FOR.total_seconds():
            log.info(
                "%s: this training was interrupted and not gone on with for %d days: removed",
                folder,
                UNFINISHED_FOR.days,
            )
            shutil.rmtree(folder, ignore_errors=True)


def _kept_champions(registry: Registry, count: int) -> set[int]:
    """Return the numbers of the former champions that keep their files: those that were in service last."""
    switches = (entry for entry in registry.history if entry.what in SWITCHES)
    numbers = (number for entry in switches for number in (entry.version, entry.previous) if number is not None)
    now = registry.in_service.version if registry.in_service is not None else None
    former = [number for number in dict.fromkeys(numbers) if number != now][:count]
    target = registry.rollback_target
    return {
        *former,
        *([target.number] if target is not None else []),
        *([registry.reference] if registry.reference else []),
    }


def _may_go(version: Version) -> bool:
    is_waiting = version.state == "candidate" and version.verdict is not None and version.verdict.passed
    return version.state != "champion" and not is_waiting


def _remove_files(models: Path, version: Version) -> None:
    folder = layout.candidate(models, version.run)
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in KEPT_ALWAYS:
            path.unlink()
