"""Review: find the images whose labels are likely wrong, and those that have none, and put them before people."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.catalog import read_catalog, waiting
from skinlesion.data.images.near_duplicates import DuplicateTables
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.labels.readings import waiting_readers
from skinlesion.data.labels.review_log import Reviews, read_reviews
from skinlesion.data.manifest import read_manifest
from skinlesion.data.report.thumbnails import thumbnails
from skinlesion.data.review import making
from skinlesion.data.review.queue import ReviewQueue, read_queue
from skinlesion.data.review.queue import path as queue_path
from skinlesion.data.review.queue import thumbnails as thumbnail_folder
from skinlesion.data.review.suspects import out_of_fold, suspects
from skinlesion.data.training_view import ViewFile, view_files
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import FeatureStore
from skinlesion.network.settings import POOLED
from skinlesion.prediction.classifier import classifier_of, model_file, predict
from skinlesion.registry import in_service
from skinlesion.stages.embed import store_activations
from skinlesion.stages.organize import made
from skinlesion.stages.settings import PipelineConfig


class Labelled(NamedTuple):
    """The originals that have a diagnosis, and what they are judged by.

    rows: of the manifest, with `file` as in images/. pooled: float32 (n, 1280), the backbone's pooled activations. pairs: the
    contents that are near-duplicates, columns first and second.
    """

    rows: pd.DataFrame
    pooled: npt.NDArray[np.float32]
    pairs: pd.DataFrame


log = logging.getLogger(__name__)

_VERSION: Final = 2
"""Counts up when another queue is made of the same data."""
_AT_ONCE: Final = 256  # pictures that are in memory at a time
_SIDE: Final = 512
"""Pixels on the long side of a picture of the queue."""
_MOST_JUDGED: Final = 1000
"""Images without a diagnosis that the model in service is asked about. Of more, these are drawn by a hash: chance is as good."""
_SHARE_OF_POOL: Final = 4
"""One of so many images in the queue is one without a diagnosis, while there are enough of both kinds."""


def review(config: PipelineConfig) -> StageReport:
    """Make the queue of the page Review, `review_queue` images at most, unless it is up to date; 0 makes none.

    Raises DataError before organize and build have run.
    """
    watch = Stopwatch()
    size = config.review_queue
    if not size:
        return watch.report("review", seen=0, done=0)
    reviews, queue = read_reviews(config.dataset), read_queue(config.dataset)
    is_current = queue is not None and not config.force and queue.key == _key(config, size, reviews)
    if queue is None or not is_current:
        queue, _ = make_queue(config, size, reviews)
    return watch.report(
        "review",
        seen=queue.labelled,
        done=0 if is_current else queue.labelled,
        details={
            "doubted": queue.doubted,
            "waiting": queue.waiting,
            "asked": len(queue.asked),
            "waiting_readers": list(waiting_readers(reviews.of_image)),
        },
    )


def make_queue(config: PipelineConfig, size: int, reviews: Reviews) -> tuple[ReviewQueue, pd.DataFrame]:
    """Return the queue, which is stored with its pictures, and the images whose label is likely wrong, `suspects.COLUMNS`.

    Images that people settled stand in neither. Images that ingest set aside, because their labels contradict each
    other, come first in the queue; doubted ones and those without a label take turns. Of each, first come those of which people
    said something and another reader is asked.
    """
    key, catalog, said = _key(config, size, reviews), read_catalog(config.dataset), reviews.of_image
    settled = {image for image, one in said.items() if one.is_settled}
    again = {image for image, one in said.items() if one.open}
    tried = {image for image, one in said.items() if one.wrong is not None}
    rows, files, pairs = _labelled(config, catalog)
    unlabelled = waiting(catalog)
    pool, version = _pool(config, unlabelled[~unlabelled["image"].isin(settled)], again)
    resized = [ViewFile(Path(path), sha256) for path, sha256 in zip(pool["source"], pool["sha256"], strict=True)]
    pooled = _activations(config, [*files, *resized])
    images = pd.concat([rows, pool], ignore_index=True)
    found = out_of_fold(pooled[: len(rows)], rows["dx"], rows["group"])
    doubted = suspects(rows, found, pairs)
    doubted = doubted[~doubted["image"].isin(settled)].reset_index(drop=True)
    doubted["rank"] = np.arange(1, len(doubted) + 1)
    contradicted = making.set_aside(catalog, making.OPEN, settled, again).head(size // 2)
    rest, listed = size - len(contradicted), making.asked_again(doubted, rows, again)
    worth = making.worth_most(pool, rows["group"], again, tried).head(max(rest // _SHARE_OF_POOL, rest - len(listed)))
    listed = listed.head(rest - len(worth))
    queue = ReviewQueue(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        key=key,
        labelled=len(rows),
        doubted=len(doubted),
        waiting=len(unlabelled),
        choices=making.choices(rows["dx"], config.actinic_keratosis),
        asked=(
            *making.of_set_aside(contradicted),
            *making.mixed(
                making.of_suspects(listed, found, images, pooled), making.of_pool(worth, version, images, pooled)
            ),
        ),
    )
    _store_pictures(config, queue, catalog)
    queue.write(queue_path(config.dataset))
    return queue, doubted


def _key(config: PipelineConfig, size: int, reviews: Reviews) -> str:
    """Return what names a queue: all images, what people said, the backbone, the settings; with a pool the model in service."""
    catalog, built = read_catalog(config.dataset), require_built_model(config.models)
    content = pd.util.hash_pandas_object(
        catalog[["image", "sha256", "dx", "label", "group", "split", "refused"]], index=False
    )
    said = len(reviews.entries)
    parts = [_VERSION, size, said, built.weights_key, hashlib.sha256(content.to_numpy().tobytes()).hexdigest()]
    now = in_service.read(config.models) if len(waiting(catalog)) else None
    return fingerprint([*parts, now.run] if now is not None else parts)


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
    """Return the originals that have a diagnosis, held out or not, with their activations."""
    rows, files, pairs = _labelled(config, read_catalog(config.dataset))
    return Labelled(rows, _activations(config, files), pairs)


def _labelled(config: PipelineConfig, catalog: pd.DataFrame) -> tuple[pd.DataFrame, list[ViewFile], pd.DataFrame]:
    """Return the rows of `Labelled`, the files of the training view that show them, and the pairs of near-duplicates."""
    manifest = read_manifest(config.dataset)
    rows = manifest[manifest["copy"] == 0].reset_index(drop=True)
    files = view_files(config.dataset, rows)
    pairs, _ = DuplicateTables(layout.tables(config.dataset, "duplicates")).read()
    return rows.assign(file=rows["image"].map(catalog.set_index("image")["file"])), files, pairs


def _pool(config: PipelineConfig, images: pd.DataFrame, again: Collection[str]) -> tuple[pd.DataFrame, int | None]:
    """Return images without a diagnosis with what the model in service says, and its version; None if none could be asked.

    images: rows of the catalog. again: names of those that come first, whatever is drawn. The result has those that were resized, `_MOST_JUDGED` at most: columns image, file, dx, group,
    original, sha256 and source (of the resized file), and `LABELS`, the probabilities.
    """
    files = made(config, "resize", layout.processed(config.dataset))[["image", "sha256", "source"]]
    pool = images.assign(original=images["sha256"])[["image", "file", "dx", "group", "original"]].merge(
        files, on="image"
    )
    pool = pool.sort_values("sha256")
    order = np.lexsort([pool["group"].duplicated(), ~pool["image"].isin(again)])
    pool = pool.iloc[order].head(_MOST_JUDGED).reset_index(drop=True)
    said = np.full((len(pool), len(LABELS)), np.nan)
    now = in_service.read(config.models) if len(pool) else None
    try:
        if now is not None:
            answers = predict(map(Path, pool["source"]), classifier_of(model_file(config.models)), config)
            for row, one in enumerate(answers):
                said[row] = np.nan if one.answer is None else one.answer.probabilities
    except DataError as error:
        log.warning("Images without a diagnosis are asked in no certain order: %s", error)
        now = None
    return pool.assign(**dict(zip(LABELS, said.T, strict=True))), now.version if now is not None else None


def _activations(config: PipelineConfig, files: list[ViewFile]) -> npt.NDArray[np.float32]:
    """Return the pooled activations of these files by the built model's backbone, float32 (n, 1280).

    They are kept in a store of their own, which training does not read; a second call computes those of new files alone.
    """
    built = require_built_model(config.models)
    folder = activations_folder(config.dataset, built.weights_key, POOLED, 1)
    store = FeatureStore(folder.with_name(f"{folder.name}{layout.REVIEW_STORE}"))
    stored = set(store.index()["sha256"])
    todo = {file.sha256: file for file in files if file.sha256 not in stored}
    if todo:
        store_activations(config, POOLED, 1, store, list(todo.values()))
        store.tidy({file.sha256 for file in files})
    every = np.arange(len(files))
    return store.open([file.sha256 for file in files]).take(every, np.zeros_like(every)).astype(np.float32)
