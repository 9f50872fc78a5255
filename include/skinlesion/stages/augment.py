"""Augment: copies of the training images, altered at random by Augmentor and reproducible by their seeds."""

from __future__ import annotations

import hashlib
import io
import random
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image

from skinlesion.data.catalog import accepted, read_catalog
from skinlesion.data.derived_files import COLUMNS, Job, Made, bring_up_to_date, write_made
from skinlesion.data.images.listed_files import COPY, image_of_copy
from skinlesion.data.split import TRAIN
from skinlesion.data.training_view import LARGEST_FILE
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.membership import is_in
from skinlesion.foundation.regular_file import read_file
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.tables import BucketTable
from skinlesion.stages.settings import PipelineConfig

if TYPE_CHECKING:
    from Augmentor.Operations import Operation


def augment(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Write processed_images/augmented/<image>__aug01.jpg and so on for each training image; held-out images get no copies.

    A copy depends on the pixels of its image, the settings and the seed, not on the number of workers or the order.
    """
    watch = Stopwatch()
    wanted = _wanted(config)
    outcome = bring_up_to_date(
        stage="augment",
        folder=layout.augmented(config.dataset),
        table=BucketTable(layout.tables(config.dataset, "augment"), COLUMNS),
        wanted=wanted,
        settings=config.fingerprint("augment"),
        make=partial(_augment_one, folder=layout.augmented(config.dataset), config=config),
        image_of=image_of_copy,
        shard=shard,
        workers=config.workers_used(),
        kind="processes",
        force=config.force,
    )
    return watch.report(
        "augment",
        seen=outcome.wanted,
        done=outcome.done,
        details={"removed": outcome.removed, "copies": config.copies},
    )


def _wanted(config: PipelineConfig) -> pd.DataFrame:
    """Return the copies that there should be: columns name, image, source (SHA-256 of the resized image), input (its path)."""
    catalog = accepted(read_catalog(config.dataset))
    resized = BucketTable(layout.tables(config.dataset, "resize"), COLUMNS).read_whole("resize")
    resized = resized[resized["refused"] == ""]
    images = resized[is_in(resized["image"], catalog.loc[catalog["split"] == TRAIN, "image"])]
    folder = str(layout.processed(config.dataset))
    copies = images.merge(pd.DataFrame({"copy": range(1, config.copies + 1)}), how="cross")
    return pd.DataFrame(
        {
            "name": copies["image"] + COPY + copies["copy"].astype(str).str.zfill(2) + ".jpg",
            "image": copies["image"],
            "source": copies["sha256"],
            "input": folder + "/" + copies["name"],
        }
    )


def _augment_one(job: Job, *, folder: Path, config: PipelineConfig) -> Made:
    content = read_file(job.input, most=LARGEST_FILE)
    if sha256_of(content) != job.source:
        raise OSError(f"{job.input} has changed since resize wrote it. Run the pipeline again from resize.")
    with Image.open(io.BytesIO(content)) as image:
        augmented = augmented_copy(image.convert("RGB"), f"{config.seed}:{job.name}", config)
    buffer = io.BytesIO()
    augmented.save(buffer, "JPEG", quality=config.jpeg_quality)
    return write_made(job, folder, buffer.getvalue())


def augmented_copy(image: Image.Image, seed: str, config: PipelineConfig) -> Image.Image:
    """Return the copy of an image that Augmentor makes with this seed, in the same size.

    Augmentor draws from the global generators of `random` and NumPy. They are seeded for each operation and restored
    afterwards, so the copy is the same whatever else draws from them. The operations are called one by one because
    Augmentor's own pipeline rounds probabilities to tenths and names files at random.
    """
    draws = random.Random(hashlib.sha256(seed.encode()).digest())
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        for operation in _operations(config):
            happens, operation_seed = draws.random() < operation.probability, draws.getrandbits(32)
            if happens:
                random.seed(operation_seed)
                np.random.seed(operation_seed)
                (image,) = operation.perform_operation([image])
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    return image


@lru_cache(maxsize=4)
def _operations(config: PipelineConfig) -> tuple[Operation, ...]:
    from Augmentor import Operations

    change = config.brightness_range
    return (
        Operations.RotateRange(config.rotation_probability, config.rotation_degrees, config.rotation_degrees),
        Operations.Flip(config.flip_probability, top_bottom_left_right="LEFT_RIGHT"),
        Operations.Flip(config.flip_probability, top_bottom_left_right="TOP_BOTTOM"),
        Operations.Zoom(config.zoom_probability, 1.0, config.zoom_factor),
        Operations.RandomBrightness(config.brightness_probability, 1 - change, 1 + change),
    )
