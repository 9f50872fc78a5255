"""Which version is in service: promote one, go back to another. See in_service.py for what readers find."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from pydantic import JsonValue

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.registry import history, in_service, lost, signature
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.in_service import InService
from skinlesion.registry.model_files import RECORD, RULE_FILE, released
from skinlesion.registry.release import name_release_files, put_in_service, require_free_names
from skinlesion.registry.snapshot import Registry, Version

log = logging.getLogger(__name__)

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
        DataError: no such version, it is in service, no reason, its files are missing or altered, or the registry or what is
            in service is damaged.
        OSError: the registry is locked by another promotion for too long, or the disk failed; nothing has changed.
    """
    with writing(models) as registry:
        return _switch(registry, registry.version(number), "promoted", actor, reason, instead_of)


def rollback(
    models: Path, *, actor: str, reason: str, to: int | None = None, instead_of: int | Literal["any"] | None = "any"
) -> HistoryEntry:
    """Go back to the version that was in service before, or to the former champion `to`; otherwise as `promote`.

    It works with what can be read: where the history, the versions, the record in service, the link to it, or the version's
    candidate is damaged, it takes the version's files from a release that had them, verified by their SHA-256.
    """
    with writing(models, although_damaged=True) as registry:
        target = registry.rollback_target if to is None else registry.version(to)
        if target is None:
            raise DataError(
                f"There is nothing to go back to in {models}: expected a version that was in service before this one. "
                "`skinlesion models list` shows the versions, `skinlesion models promote` takes any."
            )
        if target.state in ("candidate", "rejected"):
            raise DataError(
                f"Version {target.number} was never in service, so there is no going back to it. "
                f"`skinlesion models promote {target.number} --reason ...` puts it there."
            )
        return _switch(registry, target, "rolled back", actor, reason, instead_of)


def put_there_anew(models: Path, *, actor: str) -> HistoryEntry | None:
    """Put the version in service there anew if a file of its release is missing or was altered.

    Returns the history's entry; None if all is whole or nothing is in service. Raises DataError if no unaltered copy of a
    file is left; what is in service stays as it is then, and does not answer.
    """
    now = in_service.read(models)
    if now is None or now.is_whole():
        return None
    reason = f"A file of release {now.folder.name} was missing or altered; all are there again as they were registered"
    return rollback(models, actor=actor, reason=reason, to=now.version)


def set_reference(models: Path, number: int, *, actor: str, reason: str) -> HistoryEntry:
    """Make a version the reference, which candidates must be no worse than; return the history's entry.

    Raises DataError: no such version, it never was in service, its files are missing or altered, it is the reference, no reason,
    or the registry is damaged.
    """
    with writing(models) as registry:
        version = registry.version(number)
        if not reason.strip():
            raise DataError(f"No reason is given for version {number}. Say why, for those who read the history.")
        if registry.reference == number:
            raise DataError(f"Version {number} is the reference: there is nothing to do.")
        if version.state not in ("champion", "former champion"):
            raise DataError(
                f"Version {number} was never in service; expected a version that was, as the reference is the best of those. "
                f"`skinlesion models promote {number} --reason ...` puts it in service."
            )
        if registry.whole_candidate(number) is None:
            raise DataError(
                f"Files of version {number} are missing or altered, so nothing can be compared with it. Restore them."
            )
        entry = HistoryEntry(
            at=history.now(),
            what="made the reference",
            actor=actor,
            version=number,
            previous=registry.reference,
            reason=reason.strip(),
            verdict=version.verdict,
        )
        history.append(models, entry)
        return entry


@contextmanager
def writing(models: Path, *, wait: float = LOCK_WAIT, although_damaged: bool = False) -> Iterator[Registry]:
    """Hold the registry's lock and provide the registry, with the history complete.

    Raises DataError if something of the registry is damaged or lost, unless `although_damaged`; and DatasetBusy, an OSError,
    after `wait` seconds.
    """
    folder = layout.registry(models)
    if os.path.lexists(folder) and not folder.is_dir():
        if not although_damaged:
            files = f"{history.path(models).name} and versions.jsonl"
            raise DataError(f"{folder} is no folder; expected that of {files}. {lost.REMEDY}")
        folder.rename(folder.with_name(f"{folder.name}.damaged-{time.time_ns()}"))
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "promotion", wait=wait, where="this registry"):
        atomic.remove_partials(models)
        registry = Registry.read(models)
        if not although_damaged:
            registry.require_whole()
        noted = {entry.switch for entry in history.lines(models).records}
        if registry.in_service is not None and registry.in_service.entry.switch not in noted:
            _note(models, registry.in_service.entry, although_damaged=although_damaged)
        yield registry


def _note(models: Path, entry: HistoryEntry, *, although_damaged: bool = True) -> None:
    """Note a switch that is in force. Where that fails, its release has the entry, and whoever writes next notes it."""
    try:
        history.append(models, entry)
    except OSError as error:
        if not although_damaged:
            raise
        log.warning(
            "%s cannot be written (%s). Version %d is in service; %s notes it until the history can be written",
            history.path(models), error.strerror, entry.version, layout.release_in_service(models),
        )  # fmt: skip


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
    previous = registry.last_in_service
    if instead_of != "any" and previous != instead_of:
        raise Superseded(_superseded(version.number, instead_of, registry))
    if now is not None and now.version == version.number and now.is_whole():
        raise DataError(f"Version {version.number} is in service since {now.entry.at}: there is nothing to do.")
    if not registry.damage:
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
    release = layout.releases(models) / f"{entry.switch:06d}"
    try:
        _make_release(release, registry, version, entry)
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise
    # Before the release is in service, so that at a first promotion all names become valid at the same moment.
    name_release_files(models)
    put_in_service(models, release)
    found = in_service.read(models)
    if found is None or found.entry != entry or not found.is_whole():
        raise OSError(f"{models}: version {version.number} is not in service as it should be. Run the promotion again")
    _note(models, entry)
    _remove_old_releases(models, release)
    return entry


def _superseded(number: int, instead_of: int | None, registry: Registry) -> str:
    expected = "no model" if instead_of is None else f"version {instead_of}"
    now = registry.in_service
    found = (
        "nothing is"
        if now is None
        else f"version {now.version} is, since {now.entry.at} ({now.entry.actor}: {now.entry.reason})"
    )
    return (
        f"Version {number} was not put in service: when that was decided {expected} was in service, and now {found}. "
        "Compare them and decide again."
    )


def _last_switch(registry: Registry) -> int:
    noted = max((entry.switch or 0 for entry in registry.history), default=0)
    # Where nothing is damaged, a release beyond the last switch is what a killed switch left.
    there = [int(path.name) for path in _release_folders(registry.models)] if registry.damage else []
    return max(noted, *there, 0)


def _release_folders(models: Path) -> list[Path]:
    folder = layout.releases(models)
    return sorted(path for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def _make_release(folder: Path, registry: Registry, version: Version, entry: HistoryEntry) -> None:
    """Copy the version's files into a release folder of their own, verify them, and write their record last.

    The files are copied, not linked, so that a write to models/skin_lesion_classifier_trained.h5 leaves the candidate alone.
    """
    models = registry.models
    served = released(version.sha256)
    if missing := in_service.NEEDED - served.keys():
        raise DataError(_altered(version.number, f"it was registered without {', '.join(sorted(missing))}"))
    # Left by a switch that was killed before its link moved, so nobody reads from it.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    others = [one.folder for one in in_service.releases(models) if one.sha256 == served and one.folder != folder]
    for name, expected in served.items():
        own = Candidate(layout.candidate(models, version.run)).released(name)
        _copy_verified([own, *(one / name for one in others)], folder / name, expected, version.number)
    signature.carry(models, version.number, served, folder, others)
    decision_rule = _decision_rule(folder / RULE_FILE, version.number)
    record = InService(run=version.run, sha256=served, decision_rule=decision_rule, entry=entry)
    record.write(folder / RECORD)
    atomic.flush(folder.parent)


def _decision_rule(path: Path, number: int) -> dict[str, JsonValue]:
    try:
        rule = json.loads(path.read_bytes())
    except ValueError:
        rule = None
    if not isinstance(rule, dict):
        raise DataError(_altered(number, f"{path.name}, as it was registered, is no decision rule"))
    return rule


def _copy_verified(sources: list[Path], target: Path, expected: str, number: int) -> None:
    """Copy the first of the files that is the one that was registered; on a full disk, link that of another release."""
    problem, full = "", None
    for source in sources:
        try:
            content = source.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            problem = problem or f"{source} is missing"
            continue
        except OSError as error:
            problem = problem or f"{source} cannot be read ({error.strerror})"
            continue
        if (found := sha256_of(content)) == expected:
            try:
                atomic.write_bytes(target, content)
                target.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                full = error
                if source.parent.parent != target.parent.parent:
                    continue
                os.link(source, target)  # which never changes either, and takes no room
            return
        problem = problem or f"{source} is not the file that was registered (SHA-256 {found[:12]}...)"
    if full is not None:
        raise full
    raise DataError(_altered(number, problem))


def _altered(number: int, what: str) -> str:
    return (
        f"Version {number} cannot be put in service: {what}. Nothing has changed. Restore the file, train it again, or "
        "choose another version."
    )


def _remove_old_releases(models: Path, current: Path) -> None:
    for folder in [path for path in _release_folders(models) if path != current][:-RELEASES_KEPT]:
        shutil.rmtree(folder, ignore_errors=True)
