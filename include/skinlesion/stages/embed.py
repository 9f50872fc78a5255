"""Embed: the frozen part runs once for each file of the manifest; its activations are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinlesion import layout, quiet_tensorflow
from skinlesion.backbone import activations_key
from skinlesion.built_model import require_built_model
from skinlesion.config import PipelineConfig
from skinlesion.features import ROWS_IN_A_PART, FeatureStore
from skinlesion.litert import LiteRTModel, OneForEachThread, convert_to_litert
from skinlesion.manifest import read_manifest
from skinlesion.progress import progress
from skinlesion.shard import WHOLE, Shard, bucket_of
from skinlesion.stage_report import StageReport, Stopwatch
from skinlesion.training_view import ViewFile, view_files
from skinlesion.workers import spread


def embed(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Store the activations of the manifest's files that have none yet, under features/<key>/.

    Raises OSError when a file is not what the manifest says (something else writes to the folder; a retry may help).
    """
    watch = Stopwatch()
    manifest = read_manifest(config.dataset)
    if config.stored_cut is None:
        return StageReport("embed", 0, 0, 0, 0, watch.seconds(), {"why": "this way of training reads the images"})
    built = require_built_model(config.models)
    store = FeatureStore(layout.features(config.dataset) / activations_key(built.weights_key, config.stored_cut))
    buckets = set(shard.buckets())
    mine = manifest[manifest["image"].map(bucket_of).isin(buckets)].drop_duplicates("sha256")
    todo = mine if config.force else mine[~mine["sha256"].isin(store.index()["sha256"])]
    if not todo.empty:
        frozen = _frozen_part_file(config, store.folder, config.stored_cut)
        _embed(frozen, store, view_files(config.dataset, todo), config.workers_used())
    removed = store.remove_unused(set(manifest["sha256"]))
    return StageReport(
        stage="embed",
        seen=len(mine),
        done=len(todo),
        skipped=len(mine) - len(todo),
        refused=0,
        seconds=watch.seconds(),
        details={"cut": config.stored_cut, "parts_removed": removed},
    )


def _frozen_part_file(config: PipelineConfig, folder: Path, cut: str) -> Path:
    path = folder / "frozen_part.tflite"
    if not path.is_file():
        quiet_tensorflow.load()
        from skinlesion.model import frozen_part, load_classifier

        convert_to_litert(frozen_part(load_classifier(layout.built_model(config.models)), cut), path)
    return path


def _embed(frozen: Path, store: FeatureStore, files: list[ViewFile], workers: int) -> None:
    models = OneForEachThread(lambda: LiteRTModel(frozen))

    def activations(file: ViewFile) -> npt.NDArray[np.float16]:
        return models.get()(file.read()).astype(np.float16)

    with progress("embed", len(files)) as advance:
        results = spread(activations, files, workers=workers, kind="threads")
        for start in range(0, len(files), ROWS_IN_A_PART):
            part = files[start : start + ROWS_IN_A_PART]
            store.add([file.sha256 for file in part], np.stack(list(_counted(results, len(part), advance))))


def _counted(
    results: Iterator[npt.NDArray[np.float16]], count: int, advance: Callable[[int], None]
) -> Iterator[npt.NDArray[np.float16]]:
    for _ in range(count):
        yield next(results)
        advance(1)
