"""Review: find the images whose labels are likely wrong, and put them before people who can mend them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.catalog import read_catalog
from skinlesion.data.images.near_duplicates import DuplicateTables
from skinlesion.data.labels.review_log import read, standing
from skinlesion.data.manifest import read_manifest
from skinlesion.data.report.thumbnails import thumbnails
from skinlesion.data.review import making
from skinlesion.data.review.queue import ReviewQueue, read_queue
from skinlesion.data.review.queue import path as queue_path
from skinlesion.data.review.queue import thumbnails as thumbnail_folder
from skinlesion.data.review.suspects import out_of_fold, suspects
from skinlesion.data.training_view import view_files
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network.backbone import activations_key
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.stages.embed import store_activations
from skinlesion.stages.settings import PipelineConfig


class Labelled(NamedTuple):
    """The originals that have a diagnosis, and what they are judged by.

    rows: of the manifest, with `file` as in images/. pooled: float32 (n, 1280), the backbone's pooled activations. pairs: the
    contents that are near-duplicates, columns first and second.
    """

    rows: pd.DataFrame
    pooled: npt.NDArray[np.float32]
    pairs: pd.DataFrame


_VERSION: Final = 1
"""Counts up when another queue is made of the same data."""
_AT_ONCE: Final = 256  # pictures that are in memory at a time
_SIDE: Final = 512
"""Pixels on the long side of a picture of the queue."""


def review(config: PipelineConfig) -> StageReport:
    """Make the queue of the page Review, `review_queue` images at most, unless it is up to date; 0 makes none.

    Raises DataError before organize and build have run.
    """
    watch = Stopwatch()
    size = config.review_queue
    if not size:
        return StageReport(stage="review", seen=0, done=0, skipped=0, seconds=watch.seconds())
    queue = read_queue(config.dataset) if queue_path(config.dataset).exists() else None
    is_current = queue is not None and not config.force and queue.key == _key(config, size)
    if queue is None or not is_current:
        queue, _ = make_queue(config, size)
    return StageReport(
        stage="review",
        seen=queue.labelled,
        done=0 if is_current else queue.labelled,
        skipped=queue.labelled if is_current else 0,
        seconds=watch.seconds(),
        details={"doubted": queue.doubted, "asked": len(queue.asked)},
    )


def make_queue(config: PipelineConfig, size: int) -> tuple[ReviewQueue, pd.DataFrame]:
    """Return the queue, which is stored with its pictures, and the images whose label is likely wrong, `suspects.COLUMNS`.

    Images of which people said something stand in neither. Images that ingest set aside, because their labels contradict each
    other, come first in the queue; those without a label fill it up.
    """
    rows, pooled, pairs = labelled(config)
    key, catalog, settled = _key(config, size), read_catalog(config.dataset), standing(read(config.dataset))
    found = out_of_fold(pooled, rows["dx"], rows["group"])
    doubted = suspects(rows, found, pairs)
    doubted = doubted[~doubted["image"].isin(settled)].reset_index(drop=True)
    doubted["rank"] = np.arange(1, len(doubted) + 1)
    contradicted = making.set_aside(catalog, making.OPEN, settled).head(size // 2)
    listed = doubted.head(size - len(contradicted))
    unlabelled = making.set_aside(catalog, making.UNLABELLED, settled).head(size - len(contradicted) - len(listed))
    queue = ReviewQueue(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        key=key,
        labelled=len(rows),
        doubted=len(doubted),
        choices=making.choices(rows["dx"], config.actinic_keratosis),
        asked=(
            *making.of_set_aside(contradicted),
            *making.of_suspects(listed, rows, found, pooled),
            *making.of_set_aside(unlabelled),
        ),
    )
    _store_pictures(config, queue, catalog)
    queue.write(queue_path(config.dataset))
    return queue, doubted


def _key(config: PipelineConfig, size: int) -> str:
    """Return what names a queue: the labels and sides of all images, what people said, the backbone and the settings."""
    catalog, built = read_catalog(config.dataset), require_built_model(config.models)
    content = pd.util.hash_pandas_object(
        catalog[["image", "sha256", "dx", "label", "group", "split", "refused"]], index=False
    )
    said = len(read(config.dataset))
    return fingerprint(
        [_VERSION, size, said, built.weights_key, hashlib.sha256(content.to_numpy().tobytes()).hexdigest()]
    )


def _store_pictures(config: PipelineConfig, queue: ReviewQueue, catalog: pd.DataFrame) -> None:
    """Make a thumbnail of each picture of the queue that has none yet, and remove those of no picture in it."""
    folder = thumbnail_folder(config.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {asked.content for asked in queue.asked}
    wanted |= {one.content for asked in queue.asked for one in (*asked.lesion, *asked.neighbours)}
    there = {path.stem: path for path in folder.glob("*.jpg")}
    file_of = catalog.drop_duplicates("sha256").set_index("sha256")["file"]
    new = [content for content in sorted(wanted - set(there)) if content in file_of.index]
    limits = {"max_pixels": config.max_image_pixels, "workers": config.workers_used(), "side": _SIDE}
    for start in range(0, len(new), _AT_ONCE):
        part = new[start : start + _AT_ONCE]
        jpegs = thumbnails(layout.images(config.dataset), file_of.loc[part].tolist(), **limits)
        for content, jpeg in zip(part, jpegs, strict=True):
            if jpeg is not None:
                atomic.write_bytes(folder / f"{content}.jpg", jpeg)
    for content in set(there) - wanted:
        there[content].unlink(missing_ok=True)


def labelled(config: PipelineConfig) -> Labelled:
    """Return the originals that have a diagnosis, held out or not, with their activations.

    The activations are those of the built model's backbone. They are kept in a store of their own, which training does not read;
    a second call computes those of new images alone.
    """
    manifest, built = read_manifest(config.dataset), require_built_model(config.models)
    originals = manifest[manifest["copy"] == 0]
    store = FeatureStore(
        layout.features(config.dataset) / f"{activations_key(built.weights_key, POOLED, 1)}{layout.REVIEW_STORE}"
    )
    todo = originals[~originals["sha256"].isin(store.index()["sha256"])].drop_duplicates("sha256")
    if not todo.empty:
        store_activations(config, built, POOLED, 1, store, view_files(config.dataset, todo))
        store.compact(set(originals["sha256"]))
    file_of = read_catalog(config.dataset).set_index("image")["file"]
    rows = originals[originals["dx"] != ""]
    rows = rows.assign(file=rows["image"].map(file_of)).reset_index(drop=True)
    every = np.arange(len(rows))
    pooled = store.open(rows["sha256"].tolist()).take(every, np.zeros_like(every)).astype(np.float32)
    pairs, _ = DuplicateTables(layout.tables(config.dataset, "duplicates")).read()
    return Labelled(rows, pooled, pairs)
