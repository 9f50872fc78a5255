"""Ingest: labels and image files become the catalog; images that cannot be used are refused with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import JsonValue

from skinlesion.data import catalog as contract
from skinlesion.data.catalog import class_counts
from skinlesion.data.checks.gate import check_and_report
from skinlesion.data.examined_files import SUBJECT_COLUMNS, examined_files
from skinlesion.data.folder import held_for_ingest, require_images
from skinlesion.data.images.formats import image_name
from skinlesion.data.images.listing import CANNOT_LIST
from skinlesion.data.images.near_duplicates import duplicate_sets, find_near_duplicates
from skinlesion.data.labels import review_log
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.conflicts import conflicting_diagnoses
from skinlesion.data.labels.image_name import composed
from skinlesion.data.labels.joined import Labels
from skinlesion.data.labels.of_dataset import labels_of_dataset, rows_of_files
from skinlesion.data.labels.readings import ReviewEntry, called_wrong, diagnosed, said
from skinlesion.data.report.labels_summary import fallback_counts
from skinlesion.data.settings import DataSettings
from skinlesion.data.sources import any_source, collect
from skinlesion.data.split import (
    HELD_OUT,
    TRAIN,
    assign_groups,
    assign_sides,
    on_both_sides,
)
from skinlesion.data.split_table import read_split, written
from skinlesion.data.subject_key import SubjectKey
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.wording import counted
from skinlesion.registry.versions import splits_known
from skinlesion.stages.quiet.look import Look
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
        if not any_source(config):
            return _ingest(config, prepared)
        sources = {} if prepared else collect(config)
        look = Look("ingest", config)
        report = look.report()
        if report is None:
            report = _ingest(config, prepared)
            look.note(report)
        said: dict[str, JsonValue] = {name: source.model_dump() for name, source in sources.items()}
        return report.model_copy(update={"details": report.details | {"sources": said}})


def _ingest(config: PipelineConfig, prepared: bool) -> StageReport:
    watch = Stopwatch()
    require_images(config.dataset)
    reviews = review_log.write_table(config.dataset)
    labels = labels_of_dataset(config, reviews)
    atomic.remove_partials(config.dataset)
    files, read, others, unusable = examined_files(config, again=config.force and not prepared)
    catalog, copies, notes = _catalog(config, labels, files, unusable)
    reviewed = diagnosed(reviews) if config.review_labels == "win" else {}
    _refuse_other_pictures(catalog, reviewed)
    before = read_split(config.dataset, splits_known(config.models))
    decided = before.decisions
    pairs = find_near_duplicates(config, files)
    duplicates = duplicate_sets(catalog["sha256"], pairs)
    if config.review_labels != "ignore":
        notes += _without_wrong_labels(catalog, called_wrong(reviews), duplicates, reviewed)
    in_pool = catalog["split"] == contract.POOL
    usable = (catalog["refused"] == "") & ~in_pool
    conflicts = conflicting_diagnoses(catalog[usable], duplicates[usable], reviewed)
    catalog.loc[conflicts.index, "refused"] = conflicts
    set_aside = catalog.index.isin(conflicts.index)
    usable &= ~set_aside
    if not usable.any():
        raise DataError(
            f"No image of {config.dataset} can be used: {counted(len(labels.rows), 'row')} in {labels.title}, "
            f"{counted(len(files), 'file')} in images/, "
            f"{_why_none(catalog['refused'], int(in_pool.sum()))}. Expected files named as the tables' images, and one diagnosis for "
            "each picture: fill in the column of diagnoses, or put a table that has them into labels/."
            + "".join(f" {note}" for note in notes)
        )
    # What is set aside, or has no diagnosis yet, still shows that two lesions are one, and keeps the side of its group.
    unused = set_aside | in_pool
    groups = assign_groups(catalog[usable | unused], duplicates[usable | unused])
    catalog.loc[groups.index, "group"] = groups
    split, decisions = assign_sides(catalog[usable], decided, config.held_out_fraction, catalog[unused])
    catalog.loc[usable, "split"] = split
    check_and_report(config, catalog, files, pairs, notes)
    # The split is written before the catalog: after a crash between the two, the next run takes the same decisions.
    contract.write_catalog(config.dataset, catalog, written(config.dataset, before, decisions))
    return watch.report(
        "ingest",
        seen=len(catalog),
        done=read,
        skipped=len(files) - read,
        refused=int((catalog["refused"] != "").sum()),
        details={
            **_details(catalog, labels, others),
            "notes": list(notes),
            "equal_copies": copies,
            "duplicates": dict(_count_duplicates(catalog, duplicates, pairs, set_aside, decided)),
            "sources": {},
            "data_report": str(layout.data_report(config.dataset)),
        },
    )


def _catalog(
    config: DataSettings, labels: Labels, files: pd.DataFrame, unusable: dict[str, str]
) -> tuple[pd.DataFrame, int, list[str]]:
    """Return labels and files joined into rows of `catalog.COLUMNS`, the number of files that repeat another's bytes, and
    sentences on how the labels were read.

    The columns group and split are still empty, but for images without a diagnosis, which are in the pool. What is unusable (see
    `Examined`) becomes a refused row: that of the image whose name it has, or one of its own. A file of equal content and name,
    or of equal content without a row, is the same image.
    """
    files = files.assign(image=_names(files["file"], labels.rows["image"])).sort_values("file")
    several = files["image"].duplicated(keep=False) & (files["sha256"] != "")
    is_copy = several & files.duplicated(["image", "sha256"])
    copies, files = int(is_copy.sum()), files[~is_copy]
    twins = files[files["image"].duplicated(keep=False)]
    files = files.drop_duplicates("image").set_index("image", drop=False).rename_axis(None)
    for image, names in twins.groupby("image")["file"]:
        more = f" and {len(names) - _NAMES_LISTED} more" if len(names) > _NAMES_LISTED else ""
        listed = ", ".join(names[:_NAMES_LISTED])
        files.loc[image, "reason"] = f"more than one file of this name, of different content: {listed}{more}"
    if unusable:
        files = pd.concat([files, _rows_of_unusable(unusable, set(files["image"]))])
    labelled, notes = rows_of_files(labels.rows, files["image"])
    rows = labelled.drop(columns=["row", "expected"]).merge(
        files[["image", "file", "sha256", "size", "width", "height", "format", "reason"]], on="image", how="outer"
    )
    has_row, has_file = rows["dx"].notna(), rows["file"].notna()
    texts = [name for name, dtype in contract.COLUMNS.items() if dtype == "str" and name in rows]
    rows[[*texts, "reason"]] = rows[[*texts, "reason"]].fillna("")
    rows[["size", "width", "height"]] = rows[["size", "width", "height"]].fillna(0)
    refused = rows["refused"].where(rows["refused"] != "", rows["reason"])
    rows["refused"] = refused.where(has_file | (refused != ""), _no_file(unusable))
    rows = _with_subjects(config, rows, files)
    is_waiting = (rows["dx"] == "") & (rows["refused"] == "")
    rows["label"] = rows["label"].where(rows["dx"] != "", "")
    rows["split"] = np.where(is_waiting, contract.POOL, "")
    rows["group"] = ""
    rows["image"] = [name.encode(errors="backslashreplace").decode() for name in rows["image"]]
    is_repeated = ~has_row & (rows["sha256"] != "") & is_in(rows["sha256"], rows.loc[has_row, "sha256"])
    rows = rows[~is_repeated]
    catalog = rows[list(contract.COLUMNS)].astype(contract.COLUMNS).sort_values("image", ignore_index=True)
    return catalog, copies + int(is_repeated.sum()), labels.notes + notes


def _refuse_other_pictures(catalog: pd.DataFrame, reviewed: Mapping[str, ReviewEntry]) -> None:
    """Refuse in the catalog each image whose file is not the one that the person who gave the diagnosis looked at."""
    rows = catalog[(catalog["refused"] == "") & catalog["image"].isin(reviewed)]
    for index, image, content in zip(rows.index, rows["image"], rows["sha256"], strict=True):
        entry = reviewed[image]
        if entry.images[image] not in ("", content):
            catalog.loc[index, "refused"] = (
                f"its file is another than the one that {entry.by} looked at and {said(entry)} (entry {entry.number} of the "
                "reviews): look at it again, or undo the entry"
            )


def _without_wrong_labels(
    catalog: pd.DataFrame, wrong: Mapping[str, ReviewEntry], duplicates: pd.Series, reviewed: Collection[str]
) -> list[str]:
    """Take a diagnosis that people called wrong from its image and from that image's duplicates; return sentences on it.

    They wait for another diagnosis then, as images without one do. What a table says since, and what somebody who looked at a
    duplicate said of it, stays. wrong: as `called_wrong` returns it. reviewed: images to which people gave the diagnosis.
    """
    is_meant = catalog["dx"] == catalog["image"].map({image: entry.before for image, entry in wrong.items()})
    _refuse_other_pictures(catalog, {image: wrong[image] for image in catalog.loc[is_meant, "image"]})
    picture = duplicates + " " + catalog["dx"]
    is_same = picture.isin(picture[is_meant & (catalog["refused"] == "")]) & ~catalog["image"].isin(reviewed)
    is_wrong = (catalog["refused"] == "") & (is_meant | is_same)
    if not is_wrong.any():
        return []
    lost = Counter(catalog.loc[is_wrong, "dx"])
    catalog.loc[is_wrong, ["dx", "label", "split"]] = ["", "", contract.POOL]
    return [
        f"{counted(lost.total(), 'image waits', 'images wait')} for another diagnosis than the tables give, because people who looked "
        f"say that it is wrong: {', '.join(f'{dx} {count:,}' for dx, count in lost.most_common(_NAMES_LISTED))}."
    ]


def _names(files: pd.Series, labelled: pd.Series) -> list[str]:
    """Return the name of the image in each file. Where a table names the file with a suffix that is no image's, so is it."""
    known = set(labelled)
    names = []
    for file in files:
        name = composed(image_name(file))
        if name not in known and (whole := composed(Path(file).name)) in known:
            name = whole
        names.append(name)
    return names


def _no_file(unusable: dict[str, str]) -> str:
    """Return why a row has no file. A folder that cannot be listed may hold it."""
    closed = [name for name, reason in unusable.items() if reason.startswith(CANNOT_LIST)]
    where = f", of which {', '.join(closed[:_NAMES_LISTED])} cannot be listed" if closed else ""
    return f"no file of this name in images/{where}"


def _with_subjects(config: DataSettings, rows: pd.DataFrame, files: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with what DICOM files say of their subjects, where the tables do not say it.

    A patient whom a table names by the id that a file has keeps the table's name for all images.
    """
    is_said = files["age"].notna()
    for column in SUBJECT_COLUMNS:
        is_said |= files[column] != ""
    said = files[is_said][[*SUBJECT_COLUMNS, "age"]]
    if said.empty:
        return rows
    key = SubjectKey(config.dataset)
    in_tables = {key.name_of("patient", patient): patient for patient in rows["patient_id"].unique() if patient}
    said = said.assign(patient_id=said["patient_id"].map(lambda name: in_tables.get(name, name)))
    of_row = said.reindex(rows["image"]).set_axis(rows.index)
    for column in SUBJECT_COLUMNS:
        rows[column] = rows[column].where(rows[column] != "", of_row[column].fillna(""))
    rows["age"] = rows["age"].where(rows["age"].notna(), of_row["age"])
    return rows


def _rows_of_unusable(unusable: dict[str, str], images: set[str]) -> pd.DataFrame:
    """Return a row for each name, with its reason; none of them has the name of an image that is a file."""
    rows = []
    for file, reason in unusable.items():
        stem = composed(image_name(file))
        image = next(name for name in (stem, file, f"({file})") if name not in images)
        images.add(image)
        rows.append((image, file, reason))
    table = pd.DataFrame(rows, columns=["image", "file", "reason"], index=[row[0] for row in rows]).astype("str")
    return table.assign(
        sha256="", format="", size=0, width=0, height=0, age=float("nan"), **dict.fromkeys(SUBJECT_COLUMNS, "")
    )


def _details(catalog: pd.DataFrame, labels: Labels, others: list[str]) -> dict[str, JsonValue]:
    """Return the counts of the catalog that the stage reports."""
    usable = contract.accepted(catalog)
    counts = class_counts(usable)
    by_class: dict[str, JsonValue] = {
        label: {each.split: {"images": each.images, "lesions": each.lesions} for each in counts if each.label == label}
        for label in LABELS
    }
    return {
        "accepted": len(usable),
        "data_version": contract.data_version(catalog),
        "groups": int(usable["group"].nunique()),
        "groups_on_both_sides": len(on_both_sides(usable, "group")),
        "colours": dict(Counter(usable["format"].str.partition(", ")[2]).most_common(10)),
        "other_files": len(others),
        "other_files_named": [*sorted(others, key=_is_hidden)[:_NAMES_LISTED]],
        "classes": by_class,
        "unrecognised_dx": dict(fallback_counts(usable["dx"], listed=100)),
        "waiting": len(contract.waiting(catalog)),
        "layouts": dict(labels.layouts),
        "conflicts": dict(labels.conflict_counts),
        "first_conflicts": [str(conflict) for conflict in labels.conflicts[:10]],
        "refused_because": dict(Counter(catalog.loc[catalog["refused"] != "", "refused"]).most_common(20)),
    }


def _is_hidden(file: str) -> bool:
    return Path(file).name.startswith(".")


def _count_duplicates(
    catalog: pd.DataFrame,
    duplicates: pd.Series,
    pairs: pd.DataFrame,
    set_aside: npt.NDArray[np.bool_],
    decided: pd.DataFrame,
) -> dict[str, JsonValue]:
    """Return counts of the duplicates among the images that are used or set aside, and of their consequences."""
    taken = catalog[(catalog["refused"] == "") | set_aside]
    contents = pd.Index(taken["sha256"].unique())
    is_taken = (contents.get_indexer(pairs["first"]) >= 0) & (contents.get_indexer(pairs["second"]) >= 0)
    shared = taken[duplicates[taken.index].duplicated(keep=False)]
    apart = assign_groups(shared, duplicates=pd.Series("", index=shared.index))
    joined = assign_groups(shared, duplicates[shared.index])
    was_trained_on = (decided["split"] == TRAIN) & decided["key"].str.startswith("image:")
    held_out = "image:" + taken.loc[taken["split"] == HELD_OUT, "image"]
    return {
        "equal_files": len(taken) - len(contents),
        "near_duplicate_pairs": int(is_taken.sum()),
        "groups_joined": apart.nunique() - joined.nunique(),
        "set_aside": int(set_aside.sum()),
        "left_training": int((pd.Index(decided.loc[was_trained_on, "key"]).get_indexer(held_out) >= 0).sum()),
    }


def _why_none(reasons: pd.Series, waiting: int) -> str:
    """Return why no image can be used: the most frequent reasons, and how many have no diagnosis."""
    counts = Counter(reasons[reasons != ""])
    listed = "; ".join(f"{count} times: {reason}" for reason, count in counts.most_common(3))
    if not waiting:
        return f"all refused ({listed})"
    return f"{waiting} of them without a diagnosis" + (
        f", {counted(counts.total(), 'row or file', 'rows or files')} refused ({listed})" if counts else ""
    )
