"""What the stages of the models look at: build, embed, train, evaluate and promote; as `of_data` for the others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from skinlesion.data.review.queue import path as queue_path
from skinlesion.data.review.queue import read_queue, thumbnails
from skinlesion.foundation import layout
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.network.built_model import BuiltModel, read_built_model
from skinlesion.registry import history, signature, versions
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.model_files import CHANGE_RECORD, CHANGE_RECORD_PAGE, VERDICT
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.versions import splits_known
from skinlesion.stages.quiet.sights import Seen, Sights, digest, line_of

_MODELS: Final = "models"

_MIRROR: Final = "mlflow"

_OF_VERDICT: Final = {VERDICT, CHANGE_RECORD, CHANGE_RECORD_PAGE}
"""Files beside a candidate that are written once it has been measured."""

_LARGE: Final = 1_000_000
"""Bytes from which a file of an earlier candidate or release is compared by its inode, size and times."""


def of_weights(see: Sights, shard: Shard) -> Seen:
    """Return what build depends on."""
    from skinlesion.network import accelerator
    from skinlesion.network.backbone import weights_path

    path = weights_path(see.config)
    return (see.content(path) if path is not None else {}) | {"accelerator": str(accelerator.is_there())}


def built(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the built model, and its frozen part as embed runs it."""
    model = (layout.built_model(see.models), BuiltModel.path(see.models))
    frozen = [path for folder in _stores(see, of_review=False) for path in sorted(folder.glob("frozen_part.*"))]
    return see.content(*model, *frozen)


def built_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `built` does; None where the model is not the one that its record names."""
    return built(see, shard, report, seen) if read_built_model(see.models) is not None else None


def of_training_files(see: Sights, shard: Shard) -> Seen:
    """Return what embed depends on."""
    model = (layout.built_model(see.models), BuiltModel.path(see.models))
    return see.content(layout.manifest(see.dataset), *model)


def embedded(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the parts of the activations that training reads, and their indexes."""
    return _stored(see, _stores(see, of_review=False))


def _stored(see: Sights, stores: list[Path]) -> Seen:
    found: Seen = {}
    for folder in stores:
        indexes = sorted(folder.glob("part-*.parquet"))
        parts = {f"{path.stem}.npy" for path in indexes}
        lines = [line for line in see.folder(folder) if line.partition("\0")[0] in parts]
        found |= see.content(*indexes) | {see.name(folder): digest(lines)}
    return found


def embedded_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `embedded` does, by the indexes."""
    import pyarrow.parquet as pq

    found: Seen = {}
    for folder in _stores(see, of_review=False):
        indexes = sorted(folder.glob("part-*.parquet"))
        lines = []
        for path in indexes:
            row = (
                pq.read_table(path, columns=["part_size", "part_mtime_ns"], partitioning=None)
                .slice(0, 1)
                .to_pylist()[0]
            )
            lines.append(line_of(f"{path.stem}.npy", row["part_size"], row["part_mtime_ns"]))
        found |= see.content(*indexes) | {see.name(folder): digest(lines)}
    return found


def _stores(see: Sights, *, of_review: bool) -> list[Path]:
    """Return the stores of activations that training reads, or those of the reviews."""
    features = layout.features(see.dataset)
    folders = sorted(path for path in features.iterdir() if path.is_dir()) if features.is_dir() else []
    return [path for path in folders if path.name.endswith(layout.REVIEW_STORE) == of_review]


def of_training(see: Sights, shard: Shard) -> Seen:
    """Return what training depends on, besides the model in service where it goes on from one."""
    tables = (layout.manifest(see.dataset), layout.split(see.dataset), layout.catalog(see.dataset))
    return see.content(*tables) | of_training_files(see, shard)


def trained(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the candidate that training leaves, and what else it goes by: the model in service after a warm start."""
    candidate = Candidate(layout.candidate(see.models, str(report.details["run"])))
    record = candidate.read_training()
    found = see.content(candidate.training) | {"candidate": "whole" if record is not None else "damaged"}
    found |= {"interrupted": str(candidate.backup.exists()), "hidden": digest(_hidden(candidate.folder.parent))}
    in_registry = [one.version for one in splits_known(see.models)]
    found["split"] = "" if record is None or in_registry in ([], [record.split]) else str(in_registry)
    if record is None or record.warm_start is not None:
        found |= _in_service(see)
    return found


def trained_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `trained` does; None where the candidate is not whole."""
    found = trained(see, shard, report, seen)
    return found if (found["candidate"], found["interrupted"]) == ("whole", "False") else None


def evaluated(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the candidate with what was measured of it, and the versions; the history is looked at for damage alone."""
    folder = layout.candidate(see.models, str(report.details["run"]))
    names = sorted({path.name for path in folder.iterdir() if path.is_file()} - _OF_VERDICT)
    registry = Registry.read(see.models)
    unnoted = registry.in_service is not None and registry.in_service.entry.switch not in {
        entry.switch for entry in history.lines(see.models).records
    }
    said = [*registry.damage, *(["a switch is not noted"] if unnoted else [])]
    signed = signature.signature_path(see.models, int(str(report.details["version"])))
    files = see.content(*(folder / name for name in names), versions.path(see.models), signed)
    return (
        trained(see, shard, report, seen)
        | files
        | {"files of the candidate": digest(names), "registry": str(said)}
        | _keys()
    )


def evaluated_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `evaluated` does; None where something of the candidate or of the registry is damaged."""
    found = evaluated(see, shard, report, seen)
    return found if (found["candidate"], found["registry"]) == ("whole", "[]") else None


def _keys() -> Seen:
    settings = signature.SignatureSettings.of({})
    return {f"key {path}": _state_of(path) for path in (settings.private(), settings.public()) if path is not None}


def of_labelled(see: Sights, shard: Shard) -> Seen:
    """Return what the queue of reviews depends on."""
    tables = (layout.catalog(see.dataset), layout.review_history(see.dataset))
    found = see.content(*tables) | of_training_files(see, shard) | see.files(layout.tables(see.dataset, "duplicates"))
    queue = read_queue(see.dataset)
    return found | {"asked": _target(see) if queue is not None and queue.waiting else ""}


def queued(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the queue with its pictures, and the activations by which labels are judged."""
    pictures = {"pictures of the queue": digest(see.folder(thumbnails(see.dataset)))}
    return see.content(queue_path(see.dataset)) | pictures | _stored(see, _stores(see, of_review=True))


def _hidden(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")] if folder.is_dir() else []


def _target(see: Sights) -> str:
    link = layout.release_in_service(see.models)
    return str(link.readlink()) if link.is_symlink() else ""


def _in_service(see: Sights) -> Seen:
    target = _target(see)
    return {"in service": target} | (see.files(see.models / target) if target else {})


def of_models(see: Sights, shard: Shard) -> Seen:
    """Return all that judging and promoting depend on: the data's tables, and everything under models/."""
    return of_training(see, shard) | _keys() | see.content(see.config.change_plan) | {_MODELS: _tree(see)}


def settled(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return nothing; None where the stage did something, so that only its next run finds all as it leaves it."""
    return {} if report.done == 0 and seen[_MODELS] == _tree(see) else None


def _tree(see: Sights) -> str:
    """Return the digest of the models folder: of each file its content, of old candidates' and releases' large ones the state."""
    link = layout.release_in_service(see.models)
    in_service = os.path.realpath(link)
    lines = []
    for parent, folders, names in os.walk(see.models):
        folders.sort()
        if parent == str(see.models) and _MIRROR in folders:
            folders.remove(_MIRROR)
        is_old = Path(parent).parent.name in ("candidates", "releases") and parent != in_service
        for path in (Path(parent, name) for name in (*folders, *names) if not name.endswith(".lock")):
            if path.is_symlink():
                lines.append(f"{see.name(path)}\0{path.readlink()}")
            elif path.is_dir():
                lines.append(see.name(path))
            else:
                state = (
                    _state_of(path) if is_old and path.stat().st_size > _LARGE else see.content(path)[see.name(path)]
                )
                lines.append(f"{see.name(path)}\0{state}")
    mirrored = see.content(see.models / _MIRROR / "mirrored.json")
    return digest([*lines, *mirrored.values()])


def _state_of(path: Path) -> str:
    state = path.stat()
    return f"{state.st_ino} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"
