"""What each stage of the data looks at: ingest and its parts, resize, augment, organize.

For each stage there is what others leave, by the shard; what it leaves itself, as it is found; and the same once it has
finished, as its tables say that it left it, None where something is to be tried again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skinlesion.data.images.listed_files import bucket_of_file, image_of_copy, image_of_resized
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.shard import Shard, bucket_of
from skinlesion.foundation.stage_report import StageReport
from skinlesion.registry.versions import splits_known
from skinlesion.stages.quiet.sights import Noted, Seen, Sights, digest, digest_of_shard, line_of, noted_path, rows_of

_READ_WHOLE: Final = 64_000_000
"""Bytes up to which a file beside the images is compared by its content, beyond it by size and times."""

_STATES: Final = "states of the split"

_MADE_BY: Final[dict[str, tuple[Callable[[Path], Path], Callable[[str], str]]]] = {
    "resize": (layout.processed, image_of_resized),
    "augment": (layout.augmented, image_of_copy),
}
"""The folder that a stage fills, and what gives the image of a file in it."""


def nothing(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return nothing, for a stage that leaves nothing but what the others have seen."""
    return {}


def of_labels(see: Sights, shard: Shard) -> Seen:
    """Return the tables of labels, and whatever else somebody may have put beside the images."""
    found: Seen = {}
    for folder in (see.dataset, layout.labels(see.dataset)):
        for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
            path = folder / name
            if atomic.is_partial(name):
                found[see.name(path)] = "half-written"
            elif not name.startswith((".", "~$")) and path not in _left_in_root(see.dataset) and not path.is_dir():
                large = path.stat().st_size > _READ_WHOLE and path.stem != layout.diagnoses(folder).stem
                found |= {see.name(path): str(path.stat())} if large else see.content(path)
    return found


def _left_in_root(dataset: Path) -> set[Path]:
    """Return the files that stages leave beside the images."""
    report, key = layout.data_report(dataset), layout.subject_key(dataset)
    tables = {layout.catalog(dataset), layout.split(dataset), layout.manifest(dataset)}
    return {*tables, layout.split_history(dataset), report, report.with_suffix(".json"), key}


def of_files(see: Sights, shard: Shard) -> Seen:
    """Return what examining depends on besides the files."""
    return see.content(layout.subject_key(see.dataset))


def of_data_set(see: Sights, shard: Shard) -> Seen:
    """Return what ingest depends on besides the image files and its own tables."""
    others = {"other files in images/": see.images()[1]}
    return of_labels(see, shard) | of_files(see, shard) | others | {"manifest": _whose_manifest(see)}


def _whose_manifest(see: Sights) -> str:
    """Return whether the manifest, which knows a state of the split, was made from the catalog that is there."""
    tables = see.content(layout.manifest(see.dataset), layout.catalog(see.dataset))
    content = tables[see.name(layout.manifest(see.dataset))]
    if not content:
        return "of the catalog"
    made = Noted.read_if_there(noted_path(see.dataset, "organize"))
    is_of_catalog = made is not None and tables.items() <= made.seen.items()
    return "of the catalog" if is_of_catalog else content


def examined(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the image files of a shard, and what is recorded of them."""
    return see.table("ingest", shard) | {"images/": digest_of_shard(see.images()[0], shard, bucket_of_file)}


def examined_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `examined` does, by the table; None where a file is to be read again."""
    from skinlesion.data.examined_files import settings_of

    rows = rows_of(see, "ingest", ("file", "size", "mtime_ns", "ctime_ns", "settings"), shard)
    settings = settings_of(see.config)
    if any(row[-1] != settings for row in rows):
        return None
    return see.table("ingest", shard) | {"images/": digest(line_of(*row[:-1]) for row in rows)}


def ingested(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the image files and what ingest leaves: the catalog, the split, the pairs of duplicates, the report."""
    states = seen.get(_STATES, "")
    in_registry = splits_known(see.models)
    is_known = all(one.version.digest in states.split() for one in in_registry)
    return examined(see, shard, report, seen) | _left_by_ingest(see) | {_STATES: states if is_known else "others"}


def ingested_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `ingested` does, by the tables; None where something is to be tried again."""
    from skinlesion.data.images.near_duplicates import DuplicateTables
    from skinlesion.data.split_table import read_unchecked

    files = examined_as_noted(see, shard, report, seen)
    if files is None:
        return None
    if see.config.near_duplicates:
        contents = {sha256 for sha256, look in rows_of(see, "ingest", ("sha256", "look")) if look}
        if contents != set(DuplicateTables(layout.tables(see.dataset, "duplicates")).read()[1]):
            return None
    table, problem = read_unchecked(see.dataset)
    if problem or table.version is None:
        return None
    return files | _left_by_ingest(see) | {_STATES: " ".join((*table.before, table.version.digest))}


def _left_by_ingest(see: Sights) -> Seen:
    report = layout.data_report(see.dataset)
    tables = (layout.catalog(see.dataset), layout.split(see.dataset), report, report.with_suffix(".json"))
    return see.content(*tables) | see.files(layout.tables(see.dataset, "duplicates"))


def of_catalog(see: Sights, shard: Shard) -> Seen:
    """Return what resize depends on."""
    return see.content(layout.catalog(see.dataset))


def of_resized(see: Sights, shard: Shard) -> Seen:
    """Return what augment depends on."""
    return of_catalog(see, shard) | see.table("resize")


def derived(stage: str, see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the images that resize or augment made, and their table."""
    folder_of, image_of = _MADE_BY[stage]
    folder = folder_of(see.dataset)
    lines = digest_of_shard(see.folder(folder), shard, lambda name: bucket_of(image_of(name)))
    return see.table(stage, shard) | {see.name(folder): lines}


def derived_as_noted(stage: str, see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `derived` does, by the table; None where an image is to be tried again."""
    rows = rows_of(see, stage, ("name", "size", "mtime_ns", "source", "refused"), shard)
    if any(not source for *_, source, _ in rows):
        return None
    lines = digest(line_of(name, size, time) for name, size, time, _, refused in rows if not refused)
    return see.table(stage, shard) | {see.name(_MADE_BY[stage][0](see.dataset)): lines}


def of_derived(see: Sights, shard: Shard) -> Seen:
    """Return what organize depends on: the tables, and which file is which in the folders."""
    inodes = {
        f"{see.name(folder)}: inodes": digest(
            line for line in see.folder(folder, by_inode=True) if not _is_within(line)
        )
        for folder in (layout.processed(see.dataset), layout.augmented(see.dataset))
    }
    return of_resized(see, shard) | see.table("augment") | inodes


def _is_within(line: str) -> bool:
    """Return whether it is the line of a folder within that of the resized images."""
    return line.startswith(("output\0", "augmented\0"))


def organized(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen:
    """Return the manifest and the links of the training view."""
    output = layout.output(see.dataset)
    links = [f"{label}/{line}" for label in LABELS for line in see.folder(output / label, by_inode=True)]
    return see.content(layout.manifest(see.dataset)) | {see.name(output): digest(links)}


def organized_as_noted(see: Sights, shard: Shard, report: StageReport, seen: Seen) -> Seen | None:
    """Return what `organized` does, by the manifest. Where files are copied, not linked, it never is the same."""
    import pyarrow.parquet as pq

    inodes = [
        dict(line.split("\0") for line in see.folder(folder, by_inode=True))
        for folder in (layout.processed(see.dataset), layout.augmented(see.dataset))
    ]
    table = pq.read_table(layout.manifest(see.dataset), columns=["file", "copy"], partitioning=None)
    files, copies = (column.to_pylist() for column in table.columns)
    names = [file.rpartition("/")[2] for file in files]  # a Path of each takes twenty times as long
    links = [f"{file}\0{inodes[copy > 0].get(name)}" for file, name, copy in zip(files, names, copies, strict=True)]
    return see.content(layout.manifest(see.dataset)) | {see.name(layout.output(see.dataset)): digest(links)}
