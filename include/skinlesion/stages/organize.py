"""Organize: the training view, output/{benign,malignant,unknown}/, and the manifest that lists it."""

from __future__ import annotations

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.catalog import accepted, read_catalog, split_of_catalog
from skinlesion.data.derived_files import COLUMNS as FILE_COLUMNS
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import COLUMNS, read_manifest, write_manifest
from skinlesion.data.split import HELD_OUT, TRAIN, on_both_sides, own_groups
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.progress import progress
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.tables import BucketTable, empty
from skinlesion.stages.settings import PipelineConfig

_OF_CATALOG: Final = ("label", "split", "dx", "group", "original", "lesion")
"""What a row of the manifest has from the catalog."""

log = logging.getLogger(__name__)


def organize(config: PipelineConfig) -> StageReport:
    """Link each processed and augmented image into the folder of its class and write manifest.parquet.

    New links are made before the manifest is written and stale links are removed after it, so that every file of a manifest
    exists. A training image that is equal to a held-out image is left out, together with its copies.
    """
    watch = Stopwatch()
    output = layout.output(config.dataset)
    atomic.remove_partials(config.dataset)
    for label in LABELS:
        (output / label).mkdir(parents=True, exist_ok=True)
        atomic.remove_partials(output / label)
    catalog, split = read_catalog(config.dataset), split_of_catalog(config.dataset)
    wanted, left_out, refused = _wanted(config, accepted(catalog))
    present = _present(output)
    before = _manifest_before(config.dataset)
    stale = _needs_link(wanted, present, before, config.force)
    with progress("organize", len(stale), unit="links") as advance:
        for source, file in zip(stale["source"], stale["file"], strict=True):
            _link(Path(source), output / file)
            advance(1)
    manifest = wanted[list(COLUMNS)]
    if not stale.empty:
        atomic.flush_all(output)
    changed = write_manifest(config.dataset, manifest, split)
    gone = sorted(present.keys() - set(wanted["file"]))
    for file in gone:
        (output / file).unlink(missing_ok=True)
    return watch.report(
        "organize",
        seen=len(wanted),
        done=len(stale),
        refused=refused,
        details={
            "removed": len(gone),
            "manifest_changed": changed,
            "training_files": int((wanted["split"] == TRAIN).sum()),
            "held_out_files": int((wanted["split"] == HELD_OUT).sum()),
            "left_out_as_held_out_twins": left_out,
            "lesions_on_both_sides": len(on_both_sides(manifest, "group")),
        },
    )


def _wanted(config: PipelineConfig, catalog: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Return the rows of the manifest with their `source` paths, the number of images left out, and of those refused."""
    originals = made(config, "resize", layout.processed(config.dataset))
    refused = int((~is_in(catalog["image"], originals["image"])).sum())
    named = catalog.assign(original=catalog["sha256"], lesion=own_groups(catalog))[["image", *_OF_CATALOG]]
    rows = originals.assign(copy=0).merge(named, on="image")
    held_out = rows[rows["split"] == HELD_OUT]
    # Compared after resizing: equal originals become equal files, and so do some that differ.
    is_twin = is_in(rows["sha256"], held_out["sha256"])
    twins = rows[(rows["split"] == TRAIN) & is_twin]
    rows = rows[~rows["image"].isin(twins["image"])]
    copies = made(config, "augment", layout.augmented(config.dataset))
    copies = copies.assign(copy=copies["name"].str.extract(r"__aug(\d+)\.jpg$", expand=False).astype("int32"))
    in_training = rows.loc[rows["split"] == TRAIN, ["image", *_OF_CATALOG]]
    rows = pd.concat([rows, copies.merge(in_training, on="image")], ignore_index=True)
    rows["file"] = rows["label"] + "/" + rows["name"]
    rows = rows.sort_values("file", ignore_index=True)
    return rows.astype(COLUMNS), len(twins), refused


def made(config: PipelineConfig, stage: str, folder: Path) -> pd.DataFrame:
    """Return the files that a stage made: columns name, image, sha256, source (path)."""
    files = BucketTable(layout.tables(config.dataset, stage), FILE_COLUMNS).read_whole(stage)
    files = files[files["refused"] == ""]
    return files[["name", "image", "sha256"]].assign(source=str(folder) + "/" + files["name"])


def _present(output: Path) -> dict[str, os.stat_result]:
    """Return the state of each file in the class folders by its name (class/name)."""
    return {
        f"{label}/{entry.name}": entry.stat(follow_symlinks=False)
        for label in LABELS
        for entry in os.scandir(output / label)
        if not atomic.is_partial(entry.name)
    }


def _manifest_before(dataset: Path) -> pd.DataFrame:
    """Return the manifest of the last run; empty if it is missing or damaged."""
    try:
        return read_manifest(dataset)
    except DataError as error:
        if os.path.lexists(layout.manifest(dataset)):
            log.warning("organize: %s It is written anew", error)
        return empty(COLUMNS)


def _needs_link(
    wanted: pd.DataFrame, present: dict[str, os.stat_result], before: pd.DataFrame, force: bool
) -> pd.DataFrame:
    """Return the wanted rows whose link is missing or is a link to another file.

    A link is right if it has the inode of the source. On a file system without links, a copy is right if it was made from the
    same content and still has its size and the time of the source, which `_link` gives it. What is left of a link whose
    source was damaged, and made again, has another time.
    """
    if force:
        return wanted
    hash_before = dict(zip(before["file"], before["sha256"], strict=True))
    needed = []
    for file, source, sha256 in zip(wanted["file"], wanted["source"], wanted["sha256"], strict=True):
        now = present.get(file)
        if now is None:
            needed.append(True)
            continue
        of_source = os.stat(source)
        is_link = (now.st_dev, now.st_ino) == (of_source.st_dev, of_source.st_ino)
        is_copy = (
            now.st_nlink == 1
            and hash_before.get(file) == sha256
            and now.st_size == of_source.st_size
            and now.st_mtime_ns == of_source.st_mtime_ns
        )
        needed.append(not (is_link or is_copy))
    return wanted[pd.Series(needed, index=wanted.index, dtype=bool)]


def _link(source: Path, target: Path) -> None:
    """Link or copy a file, whole or not at all, in the place of what is there."""
    with suppress(OSError):  # there is a stale link, the file system is another one, or it has no links
        os.link(source, target)
        return
    with atomic.replacing(target, durable=False) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # the file system is another one, or it has no links
            shutil.copyfile(source, partial)
            shutil.copystat(source, partial)
