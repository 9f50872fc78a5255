"""What a night costs as the catalog grows: synthetic catalogs of many rows, on which every stage really runs.

A million images cannot be computed here, so their past is written down instead: the tables say that each of them was
read, resized, embedded and trained on. Files are hard links to a few small JPEGs, activations are sparse files. Ingest
and organize wrote the catalog, the split and the manifest themselves; from there on the nights are real ones.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from benchmarks.stages import NO_GATE, SKINLESION, run_stages, total
from benchmarks.whole_process import measure
from skinlesion.data.derived_files import COLUMNS as DERIVED_COLUMNS
from skinlesion.data.examined_files import FILE_COLUMNS, SUBJECT_COLUMNS, settings_of
from skinlesion.data.images.near_duplicates import PAIR_COLUMNS, DuplicateTables
from skinlesion.data.images.perceptual_hash import BITS
from skinlesion.data.images.statistics import COLUMNS as STATISTICS
from skinlesion.data.manifest import held_out_rows, read_manifest, training_rows, trusted_manifest, version
from skinlesion.data.sources.drawn.sample import write_sample
from skinlesion.foundation import layout
from skinlesion.foundation.shard import BUCKETS, bucket_of
from skinlesion.foundation.tables import BucketTable, empty, write_table
from skinlesion.network.backbone import activations_folder
from skinlesion.network.built_model import require_built_model
from skinlesion.network.feature_store import INDEX_COLUMNS, rows_in_a_part
from skinlesion.prediction.measurable import measurable
from skinlesion.promotion.sealed import held_out_parts
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.registry.register import register
from skinlesion.registry.switch import promote
from skinlesion.registry.training_record import TrainingRecord
from skinlesion.stages import resize
from skinlesion.stages.evaluate import evaluation_key
from skinlesion.stages.pipeline import STAGES
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.warm_start import candidate_of, origin, write_trained_on

# The new images are noise, and none like the others is wanted: what they look like is not to stop a night.
SETTINGS = {"weights": "random", "copies": 0, "max_image_shift": 1.0} | NO_GATE
NEW_IMAGES = 100
MORE_IMAGES = 1000
ROUNDS = 3
"""Nights with few and with many new images, in turn; medians are told."""
BEFORE_TRAINING = STAGES[: STAGES.index("train")]
DIAGNOSES = ("nv", "nv", "nv", "nv", "nv", "nv", "mel", "bkl", "bcc", "unk")
NAMES_OF_A_FILE = 25_000
"""A file system allows a file so many names: 65,000 on ext4. A processed image has two, its own and organize's."""


Stages = dict[str, dict[str, Any]]  # what `run_stages` gives


def growth(rows: int) -> dict[str, Any]:
    """Measure a night with nothing new, then nights with 100 new images and with 1,000 in turn, on a catalog of so many rows.

    What one more image costs is told from two nights that follow each other: both rewrite the tables that grow with the
    catalog. It is told without embed too, whose network takes most of it and does not know how large the catalog is.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        _write_past(folder, rows)
        nothing = run_stages(folder, SETTINGS)
        worked = [stage for stage, figures in nothing.items() if figures["done"]]
        if worked:
            raise RuntimeError(f"{', '.join(worked)} found work in a night with nothing new")
        nights: dict[int, list[Stages]] = {NEW_IMAGES: [], MORE_IMAGES: []}
        for number in range(ROUNDS):
            for images, measured in nights.items():
                _add(folder / "dataset", f"night{number}_{images}", images)
                measured.append(run_stages(folder, SETTINGS, BEFORE_TRAINING))
    an_image = {
        "seconds_an_image": _an_image(nights, BEFORE_TRAINING),
        "without_embed": _an_image(nights, [stage for stage in BEFORE_TRAINING if stage != "embed"]),
    }
    return {
        "rows": rows,
        "nothing_new": {"stages": nothing, "seconds": total(nothing)},
        "new_images": _median_night(NEW_IMAGES, nights[NEW_IMAGES]),
        "more_images": _median_night(MORE_IMAGES, nights[MORE_IMAGES]) | an_image,
    }


def _median_night(images: int, nights: list[Stages]) -> dict[str, Any]:
    night = sorted(nights, key=total)[len(nights) // 2]
    return {"images": images, "stages": night, "seconds": total(night), "nights": [total(one) for one in nights]}


def _an_image(nights: dict[int, list[Stages]], stages: Iterable[str]) -> float:
    """Return the seconds that one more new image takes in some stages: the median of the rounds."""
    few, more = (
        [total({stage: night[stage] for stage in stages}) for night in of_images] for of_images in nights.values()
    )
    return round(float(np.median(np.subtract(more, few))) / (MORE_IMAGES - NEW_IMAGES), 5)


def _write_past(folder: Path, rows: int) -> None:
    dataset, models = folder / "dataset", folder / "models"
    config = PipelineConfig.of(SETTINGS | {"dataset": dataset, "models": models})
    _train_on_few(folder)

    names = [f"SYN_{number:08d}" for number in range(rows)]
    diagnoses = pd.DataFrame(
        {
            "image": names,
            "dx": list(itertools.islice(itertools.cycle(DIAGNOSES), rows)),
            "lesion_id": [f"L{number // 2}" for number in range(rows)],
        }
    )
    dataset.mkdir()
    models.mkdir()
    diagnoses.to_csv(layout.diagnoses(dataset), index=False)
    _link(layout.images(dataset), names, folder / "small")
    _link(layout.processed(dataset), names, folder / "small")
    _write_ingest_table(config, names)
    for stage in ("ingest", "resize", "augment", "organize"):
        if stage == "resize":
            _write_resize_table(config, names)
        measure([SKINLESION, stage, f"--dataset={dataset}", f"--models={models}", "--quiet", *_given()])
    for path in (folder / "few" / "models").glob(f"{layout.built_model(models).stem}.*"):
        shutil.copy2(path, models)
    _write_activations(config, folder / "few" / "dataset")
    _write_candidate(config, folder / "few" / "models")
    run_stages(folder, SETTINGS)  # the night before: each stage has met this state once


def _given() -> list[str]:
    return [f"--set={name}={value}" for name, value in SETTINGS.items()]


def _train_on_few(folder: Path) -> None:
    """Leave a model in folder/few/models that really was built, trained and evaluated, and some small images."""
    few = folder / "few"
    write_sample(few / "dataset", images=60, seed=0, size=(96, 72))
    run_stages(few, SETTINGS | {"epochs": 1, "head_epochs": 1})
    shutil.copytree(
        layout.processed(few / "dataset"), folder / "small", ignore=shutil.ignore_patterns("output", "augmented")
    )


def _link(target: Path, names: list[str], small: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    pictures = itertools.cycle(sorted(small.glob("*.jpg")))
    for start in range(0, len(names), NAMES_OF_A_FILE):
        batch = names[start : start + NAMES_OF_A_FILE]
        first = target / f"{batch[0]}.jpg"
        shutil.copyfile(next(pictures), first)
        for name in batch[1:]:
            os.link(first, target / f"{name}.jpg")


def _digest(kind: str, name: str) -> str:
    return hashlib.sha256(f"{kind} {name}".encode()).hexdigest()


def _stats(folder: Path, names: list[str]) -> Iterator[os.stat_result]:
    return (os.stat(folder / f"{name}.jpg") for name in names)


def _write_ingest_table(config: PipelineConfig, names: list[str]) -> None:
    stats = list(_stats(layout.images(config.dataset), names))
    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "file": [f"{name}.jpg" for name in names],
            "size": [stat.st_size for stat in stats],
            "mtime_ns": [stat.st_mtime_ns for stat in stats],
            "ctime_ns": [stat.st_ctime_ns for stat in stats],
            "sha256": [_digest("original", name) for name in names],
            "width": 224,
            "height": 224,
            "format": "JPEG",
            "reason": "",
            "settings": settings_of(config),
            **{name: generator.uniform(0, 255, len(names)) for name in STATISTICS},
            "look": descriptors(generator, len(names)),
            **dict.fromkeys(SUBJECT_COLUMNS, ""),
            "age": float("nan"),
        }
    )
    DuplicateTables(layout.tables(config.dataset, "duplicates")).write(empty(PAIR_COLUMNS), table["sha256"].tolist())
    _write_buckets(BucketTable(layout.tables(config.dataset, "ingest"), FILE_COLUMNS), table, names, "file")


def descriptors(generator: np.random.Generator, count: int) -> list[str]:
    """Return descriptors of images that are not alike, in the colours that skin has (HAM10000: green 140, deviation 25)."""
    signs = generator.integers(0, 256, (count, BITS // 8), dtype=np.uint8)
    colours = np.clip(generator.normal((195, 140, 145), 25, (count, 3)), 0, 255).astype(np.uint8)
    return [row.tobytes().hex() for row in np.hstack([signs, colours])]


def _write_resize_table(config: PipelineConfig, names: list[str]) -> None:
    stats = list(_stats(layout.processed(config.dataset), names))
    table = pd.DataFrame(
        {
            "name": [f"{name}.jpg" for name in names],
            "image": names,
            "source": [_digest("original", name) for name in names],
            "settings": config.fingerprint("resize", resize.VERSION),
            "sha256": [_digest("processed", name) for name in names],
            "size": [stat.st_size for stat in stats],
            "mtime_ns": [stat.st_mtime_ns for stat in stats],
            "refused": "",
        }
    )
    _write_buckets(BucketTable(layout.tables(config.dataset, "resize"), DERIVED_COLUMNS), table, names, "name")


def _write_buckets(table: BucketTable, rows: pd.DataFrame, names: list[str], by: str) -> None:
    of_row = np.array([bucket_of(name) for name in names])
    table.folder.mkdir(parents=True, exist_ok=True)
    for bucket in range(BUCKETS):
        table.write(bucket, rows[of_row == bucket].sort_values(by, ignore_index=True))


def _write_activations(config: PipelineConfig, few: Path) -> None:
    """Write sparse parts as embed would have left them: every training file has a row of zeros."""
    cut = config.stored_cut
    assert cut is not None
    weights_key = require_built_model(config.models).weights_key
    folder = activations_folder(config.dataset, weights_key, cut, config.stored_ways)
    folder.mkdir(parents=True, exist_ok=True)
    real = activations_folder(few, weights_key, cut, config.stored_ways)
    for path in real.glob("frozen_part.*"):
        shutil.copyfile(path, folder / path.name)
    shape = np.load(next(real.glob("part-*.npy")), mmap_mode="r").shape[1:]
    contents = training_rows(read_manifest(config.dataset))["sha256"].tolist()
    for batch in _batched(contents, rows_in_a_part(shape)):
        path = folder / f"part-{_digest('part', batch[0])[:16]}.npy"
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(len(batch), *shape), version=(1, 0)).flush()
        stat = path.stat()
        index = pd.DataFrame(
            {
                "sha256": list(batch),
                "row": np.arange(len(batch)),
                "part_crc32": 0,
                "part_size": stat.st_size,
                "part_mtime_ns": stat.st_mtime_ns,
            }
        )
        write_table(path.with_suffix(".parquet"), index, INDEX_COLUMNS)


def _batched(values: list[str], size: int) -> Iterator[list[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _write_candidate(config: PipelineConfig, few: Path) -> None:
    """Let the model that was trained on few images, in the folder of models few, be the one trained on all."""
    manifest, split = trusted_manifest(config.dataset, ())
    rows, built = training_rows(manifest), require_built_model(config.models)
    trained = candidate_in_service(few)
    assert trained is not None
    candidate = candidate_of(config, rows, built)
    shutil.copytree(trained.folder, candidate.folder)
    candidate.registered.unlink()
    inner = np.arange(len(rows)) % 10 == 0
    changed = {
        "run": candidate.run,
        "training_version": version(rows),
        "origin": origin(config, built),
        "split": split,
        "trained_on": write_trained_on(candidate, rows, inner),
    }
    record = TrainingRecord.read(candidate.training).model_copy(update=changed)
    record.write(candidate.training)
    held_out = held_out_parts(config, held_out_rows(manifest)).nightly
    key = evaluation_key(config, record, measurable(config.dataset, held_out, [candidate]).rows)
    of_all = {"key": key, "run": candidate.run, "training_version": version(rows), "split": split}
    metrics = MetricsRecord.read(candidate.metrics).model_copy(update=of_all)
    metrics.write(candidate.metrics)
    number = register(config.models, candidate, metrics).number
    promote(config.models, number, actor="benchmark", reason="It stands for one that was trained on all images")


def _add(dataset: Path, name: str, images: int) -> None:
    """Add new images, each with pixels of its own."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    lines = []
    for number in range(images):
        pixels = cv2.resize(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8), (300, 225))
        cv2.imwrite(str(layout.images(dataset) / f"{name}_{number:04d}.jpg"), pixels)
        lines.append(f"{name}_{number:04d},{DIAGNOSES[number % len(DIAGNOSES)]},{name}{number}\n")
    with layout.diagnoses(dataset).open("a") as file:
        file.writelines(lines)
