"""Which version is in service: promote one, go back to another. See in_service.py for what readers find."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from skinlesion.errors import DataError
from skinlesion.registry.history import HistoryEntry


class Superseded(DataError):
    """Another version came into service in the meantime; whoever decided must look again."""


def promote(
    models: Path, number: int, *, actor: str, reason: str, instead_of: int | None | Literal["any"] = "any"
) -> HistoryEntry:
    """Put a version in service, whatever the gate said: its files as one, atomically, verified by SHA-256.

    Args:
        models: the models folder.
        number: of the version.
        actor: who wants it: a user's name.
        reason: why, in words; a person must give one.
        instead_of: the version that was in service when it was decided (None for none); `any`: whatever is.

    Returns:
        The history's entry.

    Raises:
        Superseded: another version than `instead_of` is in service.
        DataError: no such version, it is in service, no reason, or its files are missing or altered.
        OSError: the registry is locked by another promotion for too long, or the disk failed; nothing has changed.
    """
    raise NotImplementedError


def rollback(
    models: Path, *, actor: str, reason: str, to: int | None = None, instead_of: int | None | Literal["any"] = "any"
) -> HistoryEntry:
    """Go back to the version that was in service before, or to the former champion `to`. Otherwise as `promote`."""
    raise NotImplementedError
