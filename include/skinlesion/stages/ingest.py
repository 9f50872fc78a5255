"""Ingest: labels and image files become the catalog; what cannot be used is refused with its reason."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from skinlesion import atomic, layout
from skinlesion import catalog as contract
from skinlesion.bucket_table import BucketTable, empty, read_table, write_table
from skinlesion.config import PipelineConfig
from skinlesion.conflicting_diagnoses import conflicting_diagnoses
from skinlesion.data_checks.gate import check_and_report
from skinlesion.dataset_lock import locked
from skinlesion.diagnosis import LABELS, UNKNOWN
from skinlesion.errors import DataError
from skinlesion.image_file import SUFFIXES, ImageHeader, ImageRefused, check_decodes, check_header, read_header
from skinlesion.image_statistics import COLUMNS as STATISTICS
from skinlesion.image_statistics import NOT_KNOWN, image_statistics
from skinlesion.labels import Labels
from skinlesion.labels.of_dataset import as_files_are_called, labels_of_dataset
from skinlesion.labels.summary import fallback_counts
from skinlesion.near_duplicates import find_near_duplicates, show_one_picture
from skinlesion.perceptual_hash import look_of
from skinlesion.progress import progress
from skinlesion.shard import bucket_of
from skinlesion.sources import any_source, collect
from skinlesion.stage_report import StageReport, Stopwatch
from skinlesion.workers import spread

log = logging.getLogger(__name__)

FILE_COLUMNS: Final = {
    "file": "str",
    "size": "int64",
    "mtime_ns": "int64",
    "ctime_ns": "int64",
    "sha256": "str",
    "width": "int32",
    "height": "int32",
    "format": "str",
    "reason": "str",
    "settings": "str",
    **STATISTICS,
    "look": "str",
}
"""What ingest remembers of a file, so that the next run need not read it again."""

_NAMES_LISTED: Final = 5  # in a reason; the rest is counted

_ROWS_BETWEEN_WRITES: Final = 2048  # bounds what a killed run has to look at again


class FileStat(NamedTuple):
    """Of a file under images/: relative name, bytes, and the times by which a change shows."""

    file: str
    size: int
    mtime_ns: int
    ctime_ns: int


def ingest(config: PipelineConfig) -> StageReport:
    """Take what the sources have, then write catalog.parquet and split.parquet from the tables of labels and images/.

    A file is read, hashed and decoded once; later runs read it again only when its size or a time changed. Raises
    DataError when the data set as a whole cannot be used; a single bad image or row is refused in the catalog. Raises
    DatasetBusy while another process ingests the same data set.
    """
    if any_source(config):
        config.dataset.mkdir(parents=True, exist_ok=True)
    _require_dataset(config.dataset)
    with locked(config.dataset, "ingest", wait=config.ingest_wait):
        return _ingest(config)


def _ingest(config: PipelineConfig) -> StageReport:
    watch = Stopwatch()
    sources = collect(config)
    images_folder = layout.images(config.dataset)
    _require_images(images_folder)
    labels = labels_of_dataset(config)
    listed, ignored = _list_files(images_folder)
    files, read = _inspect_files(config, images_folder, listed)
    catalog = _catalog(labels, files)
    decided = _read_decided(config.dataset)
    pairs = find_near_duplicates(config, files)
    pictures = show_one_picture(catalog["sha256"], pairs)
    usable = catalog["refused"] == ""
    conflicts = conflicting_diagnoses(catalog[usable], pictures[usable])
    catalog.loc[conflicts.index, "refused"] = conflicts
    set_aside = catalog.index.isin(conflicts.index)
    usable &= ~set_aside
    if not usable.any():
        raise DataError(
            f"No image of {config.dataset} can be used: {len(labels.rows)} rows in {labels.title}, "
            f"{len(listed)} files in images/, all refused ({_most_frequent(catalog['refused'])}). Expected files named as the tables' "
            "images, and one diagnosis for each picture."
        )
    # What is set aside still shows that two lesions are one.
    grouped = catalog.assign(group=contract.assign_groups(catalog[usable | set_aside], pictures[usable | set_aside]))
    catalog.loc[usable, "group"] = grouped["group"]
    split, decisions = contract.assign_sides(
        catalog[usable], decided, config.held_out_fraction, set_aside=grouped[set_aside]
    )
    catalog.loc[usable, "split"] = split
    check_and_report(config, catalog, files, pairs)
    # The sides first: a catalog whose sides are not written down could be decided otherwise after a crash.
    write_table(contract.split_path(config.dataset), decisions, contract.SPLIT_COLUMNS)
    contract.write_catalog(config.dataset, catalog)
    return StageReport(
        stage="ingest",
        seen=len(catalog),
        done=read,
        skipped=len(listed) - read,
        refused=int((~usable).sum()),
        seconds=watch.seconds(),
        details={
            **_details(catalog, labels, ignored),
            "duplicates": _duplicates(catalog, pictures, pairs, set_aside, decided),
            "sources": sources,
            "data_report": str(layout.data_report(config.dataset)),
        },
    )


def _require_dataset(dataset: Path) -> None:
    if not dataset.is_dir():
        raise DataError(
            f"{dataset} is missing: expected a folder with images/ and diagnoses.csv or labels/. Create it, point the setting "
            "`dataset` elsewhere, or make a sample with `skinlesion sample DIR`."
        )


def _require_images(images: Path) -> None:
    if not images.is_dir():
        raise DataError(f"{images} is missing: expected a folder with the image files that the tables of labels name.")


def _list_files(folder: Path) -> tuple[list[FileStat], int]:
    """Give the image files under a folder, sorted by name, and the number of other files."""
    found: list[FileStat] = []
    ignored = 0
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = os.path.join(parent, name)
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in SUFFIXES:
                ignored += 1
                continue
            try:
                stat = os.stat(path)
            except FileNotFoundError:  # a link to nowhere
                ignored += 1
                continue
            relative = os.path.relpath(path, folder).encode(errors="backslashreplace").decode()
            found.append(FileStat(relative, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return sorted(found), ignored


def _inspect_files(config: PipelineConfig, folder: Path, listed: list[FileStat]) -> tuple[pd.DataFrame, int]:
    """Give one row of `FILE_COLUMNS` for each file, and the number of files that had to be read."""
    table = BucketTable(layout.tables(config.dataset, "ingest"), FILE_COLUMNS)
    settings = config.fingerprint("ingest")
    atomic.remove_partials(config.dataset)
    atomic.remove_partials(table.folder)
    known = table.read()
    now = pd.DataFrame(listed, columns=list(FileStat._fields)).astype({"file": "str"})
    key = ["file", "size", "mtime_ns", "ctime_ns"]
    if config.force:
        known = empty(FILE_COLUMNS)
    merged = now.merge(known[known["settings"] == settings], on=key, how="left", indicator=True)
    is_new = (merged.pop("_merge") == "left_only").to_numpy()
    rows = merged[~is_new].reset_index(drop=True)
    todo = [listed[position] for position in np.flatnonzero(is_new)]
    todo.sort(key=lambda file: _bucket(file.file))
    inspect = partial(
        _inspect,
        folder=folder,
        max_pixels=config.max_image_pixels,
        min_side=config.min_image_side,
        settings=settings,
    )
    changed = _buckets(known.loc[~known["file"].isin(now["file"]), "file"])
    with progress("ingest", len(todo)) as advance:
        for batch in _batches(spread(inspect, todo, workers=config.workers_used(), kind="threads"), advance):
            rows = pd.concat([rows, batch], ignore_index=True)
            _write_buckets(table, rows, _buckets(batch["file"]))
    _write_buckets(table, rows, changed)
    return rows, len(todo)


def _batches(rows: Iterator[dict[str, Any]], advance: Any) -> Iterator[pd.DataFrame]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        advance(1)
        if len(batch) == _ROWS_BETWEEN_WRITES:
            yield pd.DataFrame(batch).astype(FILE_COLUMNS)
            batch = []
    if batch:
        yield pd.DataFrame(batch).astype(FILE_COLUMNS)


def _write_buckets(table: BucketTable, rows: pd.DataFrame, buckets: set[int]) -> None:
    bucket_of_row = rows["file"].map(_bucket)
    for bucket in sorted(buckets):
        table.write(bucket, rows[bucket_of_row == bucket].sort_values("file", ignore_index=True))


def _bucket(file: str) -> int:
    return bucket_of(Path(file).stem)


def _buckets(files: pd.Series) -> set[int]:
    return {_bucket(file) for file in files}


def _inspect(file: FileStat, *, folder: Path, max_pixels: int, min_side: int, settings: str) -> dict[str, Any]:
    header = ImageHeader(format="", width=0, height=0, mode="")
    digest = reason = look = ""
    statistics = NOT_KNOWN
    try:
        content = (folder / file.file).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        header = read_header(content)
        check_header(header, max_pixels=max_pixels, min_side=min_side)
        small = check_decodes(content, header)
        look, statistics = look_of(small), image_statistics(small)
    except ImageRefused as refusal:
        reason = str(refusal)
    except FileNotFoundError:
        reason = "the file went away while it was being read"
    return file._asdict() | {
        "sha256": digest,
        "width": header.width,
        "height": header.height,
        "format": header.format,
        "reason": reason,
        "settings": settings,
        "look": look,
        **statistics,
    }


def _catalog(labels: Labels, files: pd.DataFrame) -> pd.DataFrame:
    """Join labels and files into rows of `catalog.COLUMNS`; group and split are still empty."""
    files = files.assign(image=[Path(file).stem for file in files["file"]]).sort_values("file")
    twins = files[files["image"].duplicated(keep=False)]
    files = files.drop_duplicates("image").set_index("image", drop=False).rename_axis(None)
    for image, names in twins.groupby("image")["file"]:
        more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
        files.loc[image, "reason"] = f"more than one file of this name: {', '.join(names[:_NAMES_LISTED])}{more}"
    labelled = as_files_are_called(labels.rows, files["image"])
    rows = labelled.drop(columns=["row", "expected"]).merge(
        files[["image", "file", "sha256", "size", "width", "height", "format", "reason"]], on="image", how="outer"
    )
    has_label, has_file = rows["dx"].notna(), rows["file"].notna()
    texts = [name for name, dtype in contract.COLUMNS.items() if dtype == "str" and name in rows]
    rows[[*texts, "reason"]] = rows[[*texts, "reason"]].fillna("")
    rows[["size", "width", "height"]] = rows[["size", "width", "height"]].fillna(0)
    refused = rows["refused"].where(rows["refused"] != "", rows["reason"])
    refused = refused.where(has_file | (refused != ""), "no file of this name in images/")
    rows["refused"] = refused.where(has_label, f"no row in {labels.title} names this file")
    rows["label"] = rows["label"].where(has_label, UNKNOWN)
    rows["group"] = rows["split"] = ""
    rows["image"] = [name.encode(errors="backslashreplace").decode() for name in rows["image"]]
    return rows[list(contract.COLUMNS)].astype(contract.COLUMNS).sort_values("image", ignore_index=True)


def _read_decided(dataset: Path) -> pd.DataFrame:
    path = contract.split_path(dataset)
    if not path.exists():
        if contract.catalog_path(dataset).exists():
            raise DataError(
                f"{path} is missing though {contract.catalog_path(dataset).name} is there: expected the table of which "
                "lesion is held out. Restore it from a backup; or, to decide the split anew, which makes every earlier "
                "evaluation incomparable, remove the catalog as well."
            )
        return empty(contract.SPLIT_COLUMNS)
    try:
        return read_table(path, contract.SPLIT_COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} cannot be read ({error}): expected the table of which lesion is held out. Restore it from a backup."
        ) from None


def _details(catalog: pd.DataFrame, labels: Labels, ignored: int) -> dict[str, Any]:
    usable = contract.accepted(catalog)
    counts = usable.groupby(["label", "split"]).agg(images=("image", "size"), lesions=("group", "nunique"))
    by_label = {
        label: {
            split: {column: int(counts[column].get((label, split), 0)) for column in ("images", "lesions")}
            for split in contract.SPLITS
        }
        for label in LABELS
    }
    return {
        "accepted": len(usable),
        "data_version": contract.data_version(catalog),
        "groups": int(usable["group"].nunique()),
        "groups_on_both_sides": len(contract.on_both_sides(usable, "group")),
        "other_files": ignored,
        "classes": by_label,
        "unrecognised_dx": fallback_counts(usable["dx"], listed=100),
        "blank_dx": int((usable["dx"] == "").sum()),
        "layouts": labels.layouts,
        "conflicts": dict(labels.conflict_counts),
        "first_conflicts": [str(conflict) for conflict in labels.conflicts[:10]],
        "refused_because": dict(Counter(catalog.loc[catalog["refused"] != "", "refused"]).most_common(20)),
    }


def _duplicates(
    catalog: pd.DataFrame,
    pictures: pd.Series,
    pairs: pd.DataFrame,
    set_aside: npt.NDArray[np.bool_],
    decided: pd.DataFrame,
) -> dict[str, int]:
    """Count the copies among the images that are used or set aside, and what follows from them."""
    taken = catalog[(catalog["refused"] == "") | set_aside]
    contents = pd.Index(taken["sha256"].unique())
    is_taken = (contents.get_indexer(pairs["first"]) >= 0) & (contents.get_indexer(pairs["second"]) >= 0)
    shared = taken[pictures[taken.index].duplicated(keep=False)]
    apart = contract.assign_groups(shared, pictures=pd.Series("", index=shared.index))
    joined = contract.assign_groups(shared, pictures[shared.index])
    was_trained_on = (decided["split"] == contract.TRAIN) & decided["key"].str.startswith("image:")
    held_out = "image:" + taken.loc[taken["split"] == contract.HELD_OUT, "image"]
    return {
        "equal_files": len(taken) - len(contents),
        "near_duplicate_pairs": int(is_taken.sum()),
        "groups_joined": apart.nunique() - joined.nunique(),
        "set_aside": int(set_aside.sum()),
        "left_training": int((pd.Index(decided.loc[was_trained_on, "key"]).get_indexer(held_out) >= 0).sum()),
    }


def _most_frequent(reasons: pd.Series) -> str:
    return "; ".join(f"{count} times: {reason}" for reason, count in Counter(reasons).most_common(3))
