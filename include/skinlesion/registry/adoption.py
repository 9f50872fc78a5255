"""A model that lay under the fixed names as plain files before there was a registry."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.registry import history
from skinlesion.registry.in_service import H5, RECORD, TFLITE
from skinlesion.registry.release import name_release_files, put_in_service, write_record
from skinlesion.registry.versions import KnownVersions, append_registered, registered_now


def adopt(models: Path) -> None:
    """Make a release of it, a version too if its candidate is known, so that all names can change as one from now on.

    It stays what is in service at every step: each name leads to the same content before and after. The caller holds the
    registry's lock.
    """
    if layout.release_in_service(models).exists() or not (models / H5).is_file():
        return
    release = layout.releases(models) / "000000"
    shutil.rmtree(release, ignore_errors=True)
    release.mkdir(parents=True)
    sha256 = {}
    for name in (H5, TFLITE):
        if (models / name).is_file():
            with atomic.replacing(release / name) as partial:
                shutil.copyfile(models / name, partial)
            sha256[name] = sha256_of(release / name)
    write_record(release, _record(models, sha256))
    put_in_service(models, release)
    name_release_files(models)


def _record(models: Path, sha256: dict[str, str]) -> dict[str, Any]:
    try:
        run = str(json.loads((models / RECORD).read_text())["run"])
    except (OSError, ValueError, KeyError, TypeError):
        run = ""
    return {
        "run": run,
        "version": _version(models, run, sha256[H5]) if run else None,
        "sha256": sha256,
        "decision_rule": None,
        "since": history.now(),
        "actor": "",
        "reason": "It was in service before there was a registry",
        "switch": 0,
        "entry": None,
    }


def _version(models: Path, run: str, sha256: str) -> int | None:
    """Give the number of the candidate that these are the files of, registered if need be; None where it is gone."""
    from skinlesion.registry.candidate import Candidate  # with pandas; most never adopt

    candidate = Candidate(layout.candidate(models, run))
    training = candidate.read_training()
    if training is None or training["sha256"].get(candidate.h5.name) != sha256:
        return None
    known = KnownVersions.read(models)
    found = known.of(run, training["sha256"])
    if found is None:
        found = registered_now(known, candidate, training)
        append_registered(models, found)
    return found.number
