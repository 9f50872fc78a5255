"""Embed: the frozen part runs once for each file of the manifest; its activations are stored."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from skinlesion import layout
from skinlesion.backbone import LiteRTModel, activations_key, convert_to_litert
from skinlesion.built_model import require_built_model
from skinlesion.config import PipelineConfig
from skinlesion.features import ROWS_IN_A_PART, FeatureStore
from skinlesion.manifest import read_manifest
from skinlesion.progress import progress
from skinlesion.shard import WHOLE, Shard, bucket_of
from skinlesion.stage_report import StageReport, Stopwatch
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
    mine = manifest[[bucket_of(image) in buckets for image in manifest["image"]]].drop_duplicates("sha256")
    stored = store.index()["sha256"] if not config.force else []
    todo = mine[~mine["sha256"].isin(stored)]
    if not todo.empty:
        frozen = _frozen_part_file(config, store.folder, config.stored_cut)
        folder = layout.output(config.dataset)
        paths = [(folder / file, sha256) for file, sha256 in zip(todo["file"], todo["sha256"], strict=True)]
        _embed(frozen, store, paths, config.workers_used())
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
        import keras

        from skinlesion.model import frozen_part

        model = keras.models.load_model(layout.built_model(config.models), compile=False)
        convert_to_litert(frozen_part(model, cut), path)
    return path


def _embed(frozen: Path, store: FeatureStore, files: list[tuple[Path, str]], workers: int) -> None:
    of_thread = threading.local()

    def activations(file: tuple[Path, str]) -> npt.NDArray[np.float16]:
        if not hasattr(of_thread, "model"):
            of_thread.model = LiteRTModel(frozen)
        result: npt.NDArray[np.float32] = of_thread.model(read_training_image(*file))
        return result.astype(np.float16)

    with progress("embed", len(files)) as advance:
        results = spread(activations, files, workers=workers, kind="threads")
        for start in range(0, len(files), ROWS_IN_A_PART):
            part = files[start : start + ROWS_IN_A_PART]
            store.add([sha256 for _, sha256 in part], np.stack(list(_counted(results, len(part), advance))))


def _counted(results: Iterator[npt.NDArray[np.float16]], count: int, advance) -> Iterator[npt.NDArray[np.float16]]:
    for _ in range(count):
        yield next(results)
        advance(1)


def read_training_image(path: Path, sha256: str) -> npt.NDArray[np.uint8]:
    """Read a file of the training view, RGB uint8 (224, 224, 3). Raises OSError when its content is not that recorded."""
    content = path.read_bytes()
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    if hashlib.sha256(content).hexdigest() != sha256 or pixels is None:
        raise OSError(f"{path} is not the file that organize listed; run the pipeline again from resize")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
