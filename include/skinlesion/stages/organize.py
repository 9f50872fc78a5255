"""Organize: the training view, output/{benign,malignant,unknown}/, and the manifest that lists it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pyarrow as pa

from skinlesion.data.catalog import accepted, read_catalog
from skinlesion.data.derived_files import COLUMNS as FILE_COLUMNS
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import COLUMNS, read_manifest, write_manifest
from skinlesion.data.split import HELD_OUT, TRAIN, on_both_sides
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.tables import BucketTable, empty
from skinlesion.stages.settings import PipelineConfig


def organize(config: PipelineConfig) -> StageReport:
    """Link each processed and augmented image into its class's folder and write manifest.parquet.

    Links come first, then the manifest that names them, then stale links go: whoever reads the manifest finds its files.
    A training image whose picture is also held out is left out, with its copies: held-out wins.
    """
    watch = Stopwatch()
    output = layout.output(config.dataset)
    atomic.remove_partials(config.dataset)
    for label in LABELS:
        (output / label).mkdir(parents=True, exist_ok=True)
        atomic.remove_partials(output / label)
    wanted, left_out, refused = _wanted(config)
    present = _present(output)
    before = _manifest_before(config.dataset)
    stale = _needs_link(wanted, present, before, config.force)
    with progress("organize", len(stale), unit="links") as advance:
        for source, file in zip(stale["source"], stale["file"], strict=True):
            _link(Path(source), output / file)
            advance(1)
    manifest = wanted[list(COLUMNS)]
    if not stale.empty:
        os.sync()
    changed = write_manifest(config.dataset, manifest)
    gone = sorted(present.keys() - set(wanted["file"]))
    for file in gone:
        (output / file).unlink(missing_ok=True)
    return StageReport(
        stage="organize",
        seen=len(wanted),
        done=len(stale),
        skipped=len(wanted) - len(stale),
        refused=refused,
        seconds=watch.seconds(),
        details={
            "removed": len(gone),
            "manifest_changed": changed,
            "training_files": int((wanted["split"] == TRAIN).sum()),
            "held_out_files": int((wanted["split"] == HELD_OUT).sum()),
            "left_out_as_held_out_twins": left_out,
            "lesions_on_both_sides": len(on_both_sides(manifest, "group")),
        },
    )


def _wanted(config: PipelineConfig) -> tuple[pd.DataFrame, int, int]:
    """Give the rows of the manifest with their `source` paths, and how many images were left out and refused."""
    catalog = accepted(read_catalog(config.dataset))
    originals = _made(config, "resize", layout.processed(config.dataset))
    refused = int((~catalog["image"].isin(originals["image"])).sum())
    rows = originals.assign(copy=0).merge(catalog[["image", "label", "split", "dx", "group"]], on="image")
    held_out = rows[rows["split"] == HELD_OUT]
    # Equal pixels become equal files, and so do some that differ.
    is_twin = rows["sha256"].isin(held_out["sha256"])
    twins = rows[(rows["split"] == TRAIN) & is_twin]
    rows = rows[~rows["image"].isin(twins["image"])]
    copies = _made(config, "augment", layout.augmented(config.dataset))
    copies = copies.assign(copy=copies["name"].str.extract(r"__aug(\d+)\.jpg$", expand=False).astype("int32"))
    in_training = rows.loc[rows["split"] == TRAIN, ["image", "label", "split", "dx", "group"]]
    rows = pd.concat([rows, copies.merge(in_training, on="image")], ignore_index=True)
    rows["file"] = rows["label"] + "/" + rows["name"]
    rows = rows.sort_values("file", ignore_index=True)
    return rows.astype(COLUMNS), len(twins), refused


def _made(config: PipelineConfig, stage: str, folder: Path) -> pd.DataFrame:
    made = BucketTable(layout.tables(config.dataset, stage), FILE_COLUMNS).read()
    made = made[made["refused"] == ""]
    return made[["name", "image", "sha256"]].assign(source=str(folder) + "/" + made["name"])


def _present(output: Path) -> dict[str, os.stat_result]:
    """Give what lies in the class folders: file (class/name) -> stat."""
    return {
        f"{label}/{entry.name}": entry.stat(follow_symlinks=False)
        for label in LABELS
        for entry in os.scandir(output / label)
        if not atomic.is_partial(entry.name)
    }


def _manifest_before(dataset: Path) -> pd.DataFrame:
    try:
        return read_manifest(dataset)
    except (DataError, OSError, pa.ArrowException):  # missing or damaged: written anew
        return empty(COLUMNS)


def _needs_link(
    wanted: pd.DataFrame, present: dict[str, os.stat_result], before: pd.DataFrame, force: bool
) -> pd.DataFrame:
    """Give the wanted rows whose link is missing or shows another file.

    A link is right when it is the source's own inode; where the file system has no links, the copy is right when it was
    made from the same content and still has its size.
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
        is_copy = now.st_nlink == 1 and hash_before.get(file) == sha256 and now.st_size == of_source.st_size
        needed.append(not (is_link or is_copy))
    return wanted[pd.Series(needed, index=wanted.index, dtype=bool)]


def _link(source: Path, target: Path) -> None:
    with suppress(OSError):  # a stale link, another file system, one without links
        os.link(source, target)
        return
    with atomic.replacing(target, durable=False) as partial:
        partial.unlink(missing_ok=True)
        try:
            os.link(source, partial)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)
