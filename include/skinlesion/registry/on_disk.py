"""How much of the disk the models take, and what for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from skinlesion.foundation import layout
from skinlesion.foundation.record import RecordPart


class OnDisk(RecordPart):
    """Bytes of the files under models/, by what they are.

    Attributes:
        candidates: trained models with their reports; `keep_versions` and `keep_former_champions` bound them.
        releases: what is in service and the few releases before it.
        registry: versions and history.
        mlflow: MLflow's copy, where it is kept in files.
    """

    candidates: int
    releases: int
    registry: int
    mlflow: int

    def sentence(self) -> str:
        """Return it as text."""
        named = self.model_dump()
        parts = ", ".join(f"{name} {_mb(size)}" for name, size in named.items())
        return f"On disk: {_mb(sum(named.values()))} MB ({parts})"


def on_disk(models: Path) -> OnDisk:
    """Return what the files under models/ take; a link counts for nothing."""
    return OnDisk(
        candidates=_bytes(layout.candidates(models)),
        releases=_bytes(layout.releases(models)),
        registry=_bytes(layout.registry(models)),
        mlflow=_bytes(models / "mlflow"),
    )


def _bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it is gone by now
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f}"
