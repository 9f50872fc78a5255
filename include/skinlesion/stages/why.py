"""Why an image was, or was not, done: what each stage has of it, from which content and settings, and what makes it stale."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from skinlesion.data.catalog import POOL, read_catalog
from skinlesion.data.derived_files import COLUMNS
from skinlesion.data.examined_files import known_of, settings_of
from skinlesion.data.labels.image_name import full_size_name
from skinlesion.data.manifest import read_manifest
from skinlesion.data.review.queue import read_queue
from skinlesion.data.split import HELD_OUT, TRAIN, decided_side
from skinlesion.data.split_table import read_unchecked
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.shard import bucket_of
from skinlesion.foundation.suggestion import did_you_mean
from skinlesion.foundation.tables import BucketTable
from skinlesion.foundation.wording import counted
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import FeatureStore
from skinlesion.prediction.measurable import UnknownWhatWasLearnt, learnt_among, read_learnt
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.stages import resize as resize_stage
from skinlesion.stages.settings import PipelineConfig

State = Literal["done", "stale", "not yet", "refused", "left out"]


class Step(NamedTuple):
    """What one stage has of an image.

    Attributes:
        stage: name of the stage.
        state: `done` for what the next run leaves as it is; `stale` and `not yet` for what it does again or for the first time;
            `refused` for what cannot be done; `left out` for what is not meant to be done.
        because: why, in sentences.
        content: first twelve digits of the SHA-256 of what the stage worked from; empty where it did not.
        at: when its file was written, ISO 8601, UTC; empty where there is none.
    """

    stage: str
    state: State
    because: str
    content: str = ""
    at: str = ""


def why(config: PipelineConfig, image: str) -> list[Step]:
    """Return what each stage has of an image, in the order of the stages, with these settings.

    A stage after one that must do its work again is `stale` only if what it has itself is; it follows when it is run.

    image: name of the image, or of its file. Raises DataError if neither the catalog nor images/ knows it.
    """
    catalog = read_catalog(config.dataset)
    row = _row_of(config, catalog, image)
    steps = [_ingested(config, catalog, row)]
    if row["refused"]:
        return steps
    resized = _table(config, "resize", row["image"])
    steps.append(_resized(config, row, resized))
    if row["split"] == POOL:
        return [*steps, _asked(config, row)]
    steps.append(_augmented(config, row, resized))
    listed = _listed(config, row["image"])
    steps.append(_organized(row, resized, listed))
    steps.append(_embedded(config, row, listed))
    return [*steps, _learnt(config, row)]


def _row_of(config: PipelineConfig, catalog: pd.DataFrame, image: str) -> pd.Series:
    name = Path(image).name
    for wanted in (image, name, Path(name).stem):
        found = catalog[(catalog["image"] == wanted) | (catalog["file"] == wanted)]
        if not found.empty:
            return found.iloc[0]
    close = did_you_mean(Path(name).stem, catalog["image"].tolist())
    raise DataError(
        f"{image} is not in {layout.catalog(config.dataset)}: expected the name of an image that ingest has seen, in images/ or "
        f"in a table of labels. {close or 'If it is new, run `skinlesion ingest`.'}"
    )


def _ingested(config: PipelineConfig, catalog: pd.DataFrame, row: pd.Series) -> Step:
    of_tables = [f"dx {row['dx']}, so {row['label']}" if row["dx"] else "no diagnosis"]
    of_tables += [f"lesion {row['lesion_id']}"] * bool(row["lesion_id"])
    what = ", ".join(of_tables)
    at, content = _written(layout.images(config.dataset) / row["file"]) if row["file"] else "", row["sha256"][:12]
    changed = _why_examined_again(config, row)
    if changed:
        return Step("ingest", "stale", f"{changed} The catalog has it with {what}.", content, at)
    if row["refused"]:
        return Step("ingest", "refused", f"{_sentence(row['refused'])} The tables say {what}.", content, at)
    sides = {HELD_OUT: "is held out: no model learns it, all are measured on it", TRAIN: "is to train on"}
    side, stays = row["split"], ""
    if side == POOL:
        decisions = read_unchecked(config.dataset)[0].decisions
        side = decided_side(catalog[catalog["group"] == row["group"]], decisions)
        stays = " Without a diagnosis nothing trains on it, is measured on it or counts it."
    words = sides.get(side, "gets its side of the split with its first diagnosis")
    because = f"{row['file']} is accepted with {what}. Its group, {row['group']}, {words}.{stays}"
    return Step("ingest", "done", because, content, at)


def _why_examined_again(config: PipelineConfig, row: pd.Series) -> str:
    """Return why the next ingest reads the file again, in a sentence; empty if it does not."""
    if not row["file"]:
        return ""
    known = known_of(config, row["file"])
    try:
        stat = os.stat(layout.images(config.dataset) / row["file"])
    except OSError as error:
        return f"{row['file']} cannot be found any more ({error.strerror})."
    if known.empty:
        return f"What was known of {row['file']} is lost."
    one = known.iloc[0]
    if (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) != (one["size"], one["mtime_ns"], one["ctime_ns"]):
        return f"{row['file']} has changed since ingest read it."
    if one["settings"] != settings_of(config):
        return f"{row['file']} was examined with other settings."
    return ""


def _resized(config: PipelineConfig, row: pd.Series, resized: pd.DataFrame) -> Step:
    if resized.empty:
        return Step("resize", "not yet", "Resize has not run since ingest accepted it.")
    one, settings = resized.iloc[0], config.fingerprint("resize", resize_stage.VERSION)
    folder = layout.processed(config.dataset)
    source = str(resize_stage.source_of(row.to_frame().T).iloc[0])
    stale = _why_made_again(one, source, settings, folder, "the original")
    content, at = one["source"][:12], _written(folder / one["name"])
    if stale:
        return Step("resize", "stale", stale, content, at)
    if one["refused"]:
        return Step("resize", "refused", _sentence(one["refused"]), content)
    return Step(
        "resize", "done", f"{one['name']} was made from the original as it is, with these settings.", content, at
    )


def _asked(config: PipelineConfig, row: pd.Series) -> Step:
    queue = read_queue(config.dataset)
    names = [] if queue is None else [asked.image for asked in queue.asked]
    if row["image"] not in names:
        return Step(
            "review", "not yet", "It is not in the queue of the page Review. A row in a table gives it a diagnosis too."
        )
    because = f"It is number {names.index(row['image']) + 1} of {len(names)} in the queue of the page Review, for somebody to say what it shows."
    return Step("review", "done", because)


def _augmented(config: PipelineConfig, row: pd.Series, resized: pd.DataFrame) -> Step:
    if row["split"] != TRAIN:
        return Step("augment", "left out", "Held-out images get no copies.")
    if not config.copies:
        return Step("augment", "left out", "The setting copies is 0.")
    copies, folder = _table(config, "augment", row["image"]), layout.augmented(config.dataset)
    if len(copies) != config.copies:
        state: State = "stale" if len(copies) else "not yet"
        return Step("augment", state, f"There are {len(copies)} copies; the setting copies is {config.copies}.")
    source = resized["sha256"].iloc[0] if len(resized) else ""
    for _, one in copies.iterrows():
        stale = _why_made_again(one, source, config.fingerprint("augment"), folder, "the resized image")
        if stale:
            return Step("augment", "stale", stale, one["source"][:12], _written(folder / one["name"]))
    copy = copies.iloc[0]
    names = ", ".join(copies["name"])
    because = f"Made from the resized image as it is, with these settings: {names}."
    return Step("augment", "done", because, copy["source"][:12], _written(folder / copy["name"]))


def _why_made_again(one: pd.Series, source: str, settings: str, folder: Path, what: str) -> str:
    """Return why a stage makes a file again, in a sentence; empty if it does not."""
    if one["source"] != source:
        return f"{one['name']} was made from other content of {what}: {one['source'][:12]}, now {source[:12]}."
    if one["settings"] != settings:
        return f"{one['name']} was made with other settings."
    if one["refused"]:
        return ""
    try:
        stat = os.stat(folder / one["name"])
        is_touched = (stat.st_size, stat.st_mtime_ns) != (one["size"], one["mtime_ns"])
        if is_touched and sha256_of(folder / one["name"]) != one["sha256"]:
            return f"{one['name']} has changed since it was made."
    except OSError:
        return f"{one['name']} is missing."
    return ""


def _organized(row: pd.Series, resized: pd.DataFrame, listed: pd.DataFrame) -> Step:
    if listed.empty:
        if row["split"] == TRAIN and len(resized) and not resized["refused"].iloc[0]:
            because = "No file of it is in the manifest: its resized image equals a held-out one, or organize has not run since."
            return Step("organize", "left out", because)
        return Step("organize", "not yet", "The manifest does not have it: organize has not run since it was resized.")
    one = listed.sort_values("copy").iloc[0]
    same = (one["label"], one["split"], one["dx"], one["original"]) == tuple(row[["label", "split", "dx", "sha256"]])
    content = one["sha256"][:12]
    if not same:
        because = (
            f"The manifest has it as {one['label']} and {one['split'].replace('_', ' ')}, from before the last ingest."
        )
        return Step("organize", "stale", because, content)
    files = ", ".join(listed.sort_values("copy")["file"])
    return Step("organize", "done", f"In the training view as {files}.", content)


def _embedded(config: PipelineConfig, row: pd.Series, listed: pd.DataFrame) -> Step:
    if row["split"] != TRAIN:
        return Step(
            "embed", "left out", "Held-out images have no stored activations: they are measured by the whole model."
        )
    if config.stored_cut is None:
        return Step("embed", "left out", "Training with this loader reads the images.")
    try:
        built = require_built_model(config.models)
    except DataError as error:
        return Step("embed", "not yet", str(error))
    folder = activations_folder(config.dataset, built.weights_key, config.stored_cut, config.stored_ways)
    stored = set(FeatureStore(folder).index()["sha256"])
    has = int(listed["sha256"].isin(stored).sum())
    weights = f"of these weights at {config.stored_cut} in {config.stored_ways} orientations"
    state: State = "done" if len(listed) and has == len(listed) else "not yet"
    return Step("embed", state, f"{has:,} of its {counted(len(listed), 'file')} have activations {weights}.")


def _learnt(config: PipelineConfig, row: pd.Series) -> Step:
    """Return in which versions' training it was, and which were measured on it."""
    registry = Registry.read(config.models)
    in_service = registry.in_service.version if registry.in_service is not None else None
    one = pd.DataFrame([{"image": row["image"], "original": row["sha256"], "sha256": "", "group": row["group"]}])
    knew, unknown, others = [], [], []
    for version in registry.versions:
        candidate = Candidate(layout.candidate(config.models, version.run))
        try:
            table = read_learnt(candidate)
        except UnknownWhatWasLearnt:
            unknown.append(version.number)
            continue
        itself = full_size_name(table["image"]).isin(full_size_name(one["image"])) | (
            table["original"] == row["sha256"]
        )
        if itself.any():
            knew.append(version.number)
        elif learnt_among(one, table, None).any():
            others.append(version.number)
    named = {
        number: f"{number} (in service)" if number == in_service else str(number)
        for number in (*knew, *unknown, *others)
    }
    parts = [
        f"Learnt by version{'s' * (len(knew) > 1)} {', '.join(named[one] for one in knew)}."
        if knew
        else "No version learnt it.",
        f"Another image of its lesion was learnt by {', '.join(named[one] for one in others)}." if others else "",
        f"What {', '.join(named[one] for one in unknown)} learnt is not known." if unknown else "",
    ]
    if row["split"] == HELD_OUT:
        state: State = "left out"
        parts.insert(0, "It is held out.")
        parts.append("Those versions are not measured on it." if knew or others else "")
    else:
        state = "done" if knew else "not yet"
    return Step("train", state, " ".join(filter(None, parts)))


def _table(config: PipelineConfig, stage: str, image: str) -> pd.DataFrame:
    rows = BucketTable(layout.tables(config.dataset, stage), COLUMNS).read([bucket_of(image)])
    return rows[rows["image"] == image].sort_values("name", ignore_index=True)


def _listed(config: PipelineConfig, image: str) -> pd.DataFrame:
    if not os.path.lexists(layout.manifest(config.dataset)):
        return pd.DataFrame({"image": [], "copy": []})
    manifest = read_manifest(config.dataset)
    return manifest[manifest["image"] == image]


def _written(path: Path) -> str:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
    except OSError:
        return ""


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
