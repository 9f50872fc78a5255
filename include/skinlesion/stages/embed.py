"""Embed: run the frozen part of the network once for each training file and store its activations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skinlesion.data.images.orientation import oriented
from skinlesion.data.manifest import read_manifest
from skinlesion.data.split import TRAIN
from skinlesion.data.training_view import ViewFile, view_files
from skinlesion.foundation import layout
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.progress import progress
from skinlesion.foundation.shard import WHOLE, Shard, bucket_of
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.workers import spread
from skinlesion.network import accelerator, quiet_tensorflow
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import Activations, FeatureStore, remove_abandoned, rows_in_a_part
from skinlesion.network.frozen_part import NAME as FROZEN_PART
from skinlesion.network.frozen_part import is_whole, write_frozen_part
from skinlesion.network.litert import LiteRTModel, OneForEachThread
from skinlesion.stages.settings import PipelineConfig


def embed(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Store the activations of the training files in the manifest that have none yet, under features/<key>/.

    The row of a file holds the activations of `stored_ways` orientations, float16 (orientations, ...). Held-out files have
    none: training must not read them, and evaluation runs the whole model. Stores of other weights or of another cut that no
    run has used for a month are removed.

    Raises OSError if a file differs from the manifest (another process writes to the folder; a retry may help).
    """
    watch = Stopwatch()
    manifest = read_manifest(config.dataset)
    if config.stored_cut is None:
        return watch.report(
            "embed",
            seen=0,
            done=0,
            details={
                "why": "training with this loader reads the images",
                "stores_removed": remove_abandoned(layout.features(config.dataset)),
            },
        )
    built = require_built_model(config.models)
    store = FeatureStore(activations_folder(config.dataset, built.weights_key, config.stored_cut, config.stored_ways))
    buckets = set(shard.buckets())
    trained_on = manifest[manifest["split"] == TRAIN]
    mine = trained_on[trained_on["image"].map(bucket_of).isin(buckets)].drop_duplicates("sha256")
    todo = mine if config.force else mine[~is_in(mine["sha256"], store.index()["sha256"])]
    device = ""
    if not todo.empty:
        files = view_files(config.dataset, todo)
        device = store_activations(config, config.stored_cut, config.stored_ways, store, files)
    compacted, removed = store.tidy(set(trained_on["sha256"]))
    return watch.report(
        "embed",
        seen=len(mine),
        done=len(todo),
        details={
            "cut": config.stored_cut,
            "orientations": config.stored_ways,
            "device": device,
            "parts_compacted": compacted,
            "parts_removed": removed,
            "stores_removed": remove_abandoned(layout.features(config.dataset)),
        },
    )


def store_activations(config: PipelineConfig, cut: str, ways: int, store: FeatureStore, files: list[ViewFile]) -> str:
    """Run the network up to the layer `cut` on these files in so many orientations, and store the activations.

    Returns the name of the device on which it ran.
    """
    if accelerator.is_there():
        results = _on_tensorflow(config, cut, ways, files)
        device = "TensorFlow on a GPU"
    else:
        results = _on_litert(config, _frozen_part_file(config, cut, store.folder / FROZEN_PART), ways, files)
        device = f"LiteRT on {config.workers_used()} threads"
    with progress("embed", len(files)) as advance, ThreadPoolExecutor(1) as storing:
        _store(store, files, results, storing, advance)
    return device


def _on_litert(config: PipelineConfig, frozen: Path, ways: int, files: list[ViewFile]) -> Iterator[Activations]:
    models = OneForEachThread(lambda: LiteRTModel(frozen))

    def activations(file: ViewFile) -> Activations:
        model, pixels = models.get(), file.read()
        return np.stack([model(oriented(pixels, at)).astype(np.float16) for at in range(ways)])

    return spread(activations, files, workers=config.workers_used(), kind="threads")


def _on_tensorflow(config: PipelineConfig, cut: str, ways: int, files: list[ViewFile]) -> Iterator[Activations]:
    quiet_tensorflow.load()
    from skinlesion.network.classifier import frozen_part, load_classifier

    model = frozen_part(load_classifier(layout.built_model(config.models)), cut)
    images = spread(ViewFile.read, files, workers=config.workers_used(), kind="threads")
    orientations = range(ways)
    results = accelerator.in_batches(model, (oriented(pixels, at) for pixels in images for at in orientations))
    for first in results:
        yield np.stack([first, *itertools.islice(results, len(orientations) - 1)])


def _store(
    store: FeatureStore,
    files: list[ViewFile],
    results: Iterator[Activations],
    storing: ThreadPoolExecutor,
    advance: Callable[[int], None],
) -> None:
    """Store the results part by part. One part is written while the next one is computed."""
    first = next(results)
    full = rows_in_a_part(first.shape)
    writing: Future[str] | None = None
    for start in range(0, len(files), full):
        names = [file.sha256 for file in files[start : start + full]]
        part: npt.NDArray[np.float16] = np.empty((len(names), *first.shape), dtype=np.float16)
        for row in range(len(names)):
            part[row] = first if start + row == 0 else next(results)
            advance(1)
        if writing is not None:
            writing.result()
        writing = storing.submit(store.add, names, part)
    if writing is not None:
        writing.result()


def _frozen_part_file(config: PipelineConfig, cut: str, path: Path) -> Path:
    """Return the .tflite file of the frozen part, which is written if build left none or if it was damaged since."""
    if not is_whole(path):
        quiet_tensorflow.load()
        from skinlesion.network.classifier import load_classifier

        write_frozen_part(load_classifier(layout.built_model(config.models)), cut, path)
    return path
