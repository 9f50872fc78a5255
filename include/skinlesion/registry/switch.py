"""Which version is in service: promote one, go back to another. See in_service.py for what readers find."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.registry import history, in_service, signature
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.in_service import InService
from skinlesion.registry.model_files import KERAS, RULE_FILE, TFLITE, TFLITE_OF_CANDIDATE
from skinlesion.registry.release import name_release_files, put_in_service, require_free_names, write_record
from skinlesion.registry.snapshot import Registry, Version, with_pending

RELEASES_KEPT: Final = 3
"""Number of earlier releases that are kept: a reader that found one may still read from it."""

LOCK_WAIT: Final = 60.0
"""Seconds that a switch waits for another; it takes less than one."""


class Superseded(DataError):
    """Another version came into service in the meantime, so the decision must be made again."""


def promote(
    models: Path, number: int, *, actor: str, reason: str, instead_of: int | Literal["any"] | None = "any"
) -> HistoryEntry:
    """Put a version in service, whatever the gate said: its files as one, atomically, verified by SHA-256.

    Args:
        models: the models folder.
        number: of the version.
        actor: who wants it: a user's name.
        reason: why, in words; a person must give one.
        instead_of: the version that was in service when this was decided (None for none); `any` for whatever is.

    Returns:
        The history's entry.

    Raises:
        Superseded: another version than `instead_of` is in service.
        DataError: no such version, it is in service, no reason, or its files are missing or altered.
        OSError: the registry is locked by another promotion for too long, or the disk failed; nothing has changed.
    """
    with writing(models):
        registry = Registry.read(models)
        return _switch(registry, registry.version(number), "promoted", actor, reason, instead_of)


def rollback(
    models: Path, *, actor: str, reason: str, to: int | None = None, instead_of: int | Literal["any"] | None = "any"
) -> HistoryEntry:
    """Go back to the version that was in service before, or to the former champion `to`; otherwise as `promote`."""
    with writing(models):
        registry = Registry.read(models)
        target = registry.rollback_target if to is None else registry.version(to)
        if target is None:
            raise DataError(
                f"There is nothing to go back to in {models}: expected a version that was in service before this one. "
                "`skinlesion models list` shows the versions, `skinlesion models promote` takes any."
            )
        if target.state == "candidate" or target.state == "rejected":
            raise DataError(
                f"Version {target.number} was never in service, so there is no going back to it. "
                f"`skinlesion models promote {target.number} --reason ...` puts it there."
            )
        return _switch(registry, target, "rolled back", actor, reason, instead_of)


@contextmanager
def writing(models: Path, *, wait: float = LOCK_WAIT) -> Iterator[None]:
    """Hold the registry's lock, with the history complete. Raises DatasetBusy, an OSError, after `wait` seconds."""
    folder = layout.registry(models)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "promotion", wait=wait, where="this registry"):
        atomic.remove_partials(models)
        entries, now = history.read(models), in_service.read(models)
        for entry in with_pending(entries, now)[len(entries) :]:
            history.append(models, entry)
        yield


def _switch(
    registry: Registry,
    version: Version,
    what: Literal["promoted", "rolled back"],
    actor: str,
    reason: str,
    instead_of: int | Literal["any"] | None,
) -> HistoryEntry:
    models, now = registry.models, registry.in_service
    if not reason.strip():
        raise DataError(f"No reason is given for version {version.number}. Say why, for those who read the history.")
    previous = now.version if now is not None else None
    if instead_of != "any" and previous != instead_of:
        raise Superseded(_superseded(version.number, instead_of, registry))
    if now is not None and now.version == version.number and now.is_whole():
        raise DataError(f"Version {version.number} is in service since {now.since}: there is nothing to do.")
    require_free_names(models)
    entry = HistoryEntry(
        at=history.now(),
        what=what,
        actor=actor,
        version=version.number,
        previous=previous,
        reason=reason.strip(),
        verdict=version.verdict,
        switch=_last_switch(registry) + 1,
    )
    release = _make_release(registry, version, entry)
    # Before the release is in service, so that at a first promotion all names become valid at the same moment.
    name_release_files(models)
    put_in_service(models, release)
    found = in_service.read(models)
    if found is None or found.entry != entry or not found.is_whole():
        raise OSError(f"{models}: version {version.number} is not in service as it should be. Run the promotion again")
    history.append(models, entry)
    _remove_old_releases(models, release)
    return entry


def _superseded(number: int, instead_of: int | None, registry: Registry) -> str:
    expected = "no model" if instead_of is None else f"version {instead_of}"
    now = registry.in_service
    found = "nothing is" if now is None else f"version {now.version} is, since {now.since} ({now.actor}: {now.reason})"
    return (
        f"Version {number} was not put in service: when that was decided {expected} was in service, and now {found}. "
        "Compare them and decide again."
    )


def _last_switch(registry: Registry) -> int:
    return max((entry.switch or 0 for entry in registry.history), default=0)


def _make_release(registry: Registry, version: Version, entry: HistoryEntry) -> Path:
    """Copy the version's files into a release folder of their own, verify them, and write their record last.

    The files are copied, not linked, so that a write to models/skin_lesion_classifier_trained.h5 leaves the candidate alone.
    """
    models = registry.models
    registered = registry.known.registered[version.number]
    source = layout.candidate(models, version.run)
    folder = layout.releases(models) / f"{entry.switch:06d}"
    # Left by a switch that was killed before its link moved, so nobody reads from it.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sha256: dict[str, str] = {}
    for name, expected in registered.sha256.items():
        if name == KERAS:
            continue
        served = TFLITE if name == TFLITE_OF_CANDIDATE else name
        _copy_verified(source / name, folder / served, expected, version.number)
        sha256[served] = expected
    signature.carry(models, version.number, registered.sha256, folder)
    rule = folder / RULE_FILE
    decision_rule = json.loads(rule.read_text()) if rule.is_file() else None
    write_record(folder, InService(run=version.run, sha256=sha256, decision_rule=decision_rule, entry=entry))
    return folder


def _copy_verified(source: Path, target: Path, expected: str, number: int) -> None:
    try:
        with atomic.replacing(target) as partial:
            shutil.copyfile(source, partial)
            found = sha256_of(partial)
    except FileNotFoundError:
        raise DataError(_altered(number, f"{source} is missing")) from None
    if found != expected:
        target.unlink()
        raise DataError(_altered(number, f"{source} is not the file that was registered (SHA-256 {found[:12]}...)"))
    target.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)


def _altered(number: int, what: str) -> str:
    return (
        f"Version {number} cannot be put in service: {what}. Nothing has changed. Restore the file, train it again, or "
        "choose another version."
    )


def _remove_old_releases(models: Path, current: Path) -> None:
    for folder in sorted(path for path in layout.releases(models).iterdir() if path != current)[:-RELEASES_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
