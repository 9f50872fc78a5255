"""Ingest: labels and image files become the catalog; images that cannot be used are refused with a reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import JsonValue

from skinlesion.data import catalog as contract
from skinlesion.data.checks.gate import check_and_report
from skinlesion.data.examined_files import examined_files
from skinlesion.data.folder import held_for_ingest, require_images
from skinlesion.data.images.near_duplicates import find_near_duplicates, show_one_picture
from skinlesion.data.labels import Labels
from skinlesion.data.labels.classes import LABELS, UNKNOWN
from skinlesion.data.labels.conflicts import conflicting_diagnoses
from skinlesion.data.labels.of_dataset import as_files_are_called, labels_of_dataset
from skinlesion.data.report.labels_summary import fallback_counts
from skinlesion.data.sources import collect
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.tables import empty, read_table, write_table
from skinlesion.stages.settings import PipelineConfig

_NAMES_LISTED: Final = 5
"""Names in a reason. Further names are counted."""


def ingest(config: PipelineConfig, *, prepared: bool = False) -> StageReport:
    """Bring new files of the sources in, then write catalog.parquet and split.parquet from the tables of labels and images/.

    A file is read, hashed and decoded once; later runs read it again only if its size or one of its times changed. A single
    image or row that cannot be used is refused in the catalog. Raises DataError if the data set as a whole cannot be used, and
    DatasetBusy while another process ingests it.

    Args:
        config: the settings.
        prepared: whether the stages collect and examine have run. Then no source is read again, and with `force` no file is
            read a second time. A file without a record (it came later, or its part of the table was lost) is still read.
    """
    with held_for_ingest(config):
        return _ingest(config, prepared)


def _ingest(config: PipelineConfig, prepared: bool) -> StageReport:
    watch = Stopwatch()
    sources: dict[str, JsonValue] = {} if prepared else dict(collect(config))
    require_images(config.dataset)
    labels = labels_of_dataset(config)
    atomic.remove_partials(config.dataset)
    files, read, others = examined_files(config, again=config.force and not prepared)
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
            f"{len(files)} files in images/, all refused ({_most_frequent(catalog['refused'])}). Expected files named as the tables' "
            "images, and one diagnosis for each picture."
        )
    # Images that are set aside still show that two lesions are the same.
    grouped = catalog.assign(group=contract.assign_groups(catalog[usable | set_aside], pictures[usable | set_aside]))
    catalog.loc[usable, "group"] = grouped["group"]
    split, decisions = contract.assign_sides(
        catalog[usable], decided, config.held_out_fraction, set_aside=grouped[set_aside]
    )
    catalog.loc[usable, "split"] = split
    check_and_report(config, catalog, files, pairs)
    # The split is written before the catalog: after a crash between the two, the next run takes the same decisions.
    write_table(contract.split_path(config.dataset), decisions, contract.SPLIT_COLUMNS)
    contract.write_catalog(config.dataset, catalog)
    return StageReport(
        stage="ingest",
        seen=len(catalog),
        done=read,
        skipped=len(files) - read,
        refused=int((~usable).sum()),
        seconds=watch.seconds(),
        details={
            **_details(catalog, labels, others),
            "duplicates": _duplicates(catalog, pictures, pairs, set_aside, decided),
            "sources": sources,
            "data_report": str(layout.data_report(config.dataset)),
        },
    )


def _catalog(labels: Labels, files: pd.DataFrame) -> pd.DataFrame:
    """Return labels and files joined into rows of `catalog.COLUMNS`. The columns group and split are still empty."""
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
    """Return the decisions of earlier runs about which lesions are held out; empty before the first run."""
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


def _details(catalog: pd.DataFrame, labels: Labels, others: int) -> dict[str, JsonValue]:
    """Return counts of the catalog for the report of the stage."""
    usable = contract.accepted(catalog)
    counts = usable.groupby(["label", "split"]).agg(images=("image", "size"), lesions=("group", "nunique"))
    by_label: dict[str, JsonValue] = {
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
        "other_files": others,
        "classes": by_label,
        "unrecognised_dx": dict(fallback_counts(usable["dx"], listed=100)),
        "blank_dx": int((usable["dx"] == "").sum()),
        "layouts": dict(labels.layouts),
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
) -> dict[str, JsonValue]:
    """Return counts of the duplicates among the images that are used or set aside, and of their consequences."""
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
