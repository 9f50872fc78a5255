"""Resize: every accepted original becomes a 224x224 JPEG."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import pandas as pd

from skinlesion.data.catalog import accepted, read_catalog, waiting
from skinlesion.data.derived_files import COLUMNS, Job, Made, bring_up_to_date, write_made
from skinlesion.data.images.colour import CONVERSION_VERSION, CONVERTED
from skinlesion.data.images.file import ImageRefused, check_header, decode, encode_jpeg, read_header, to_model_size
from skinlesion.data.images.listed_files import image_of_resized
from skinlesion.data.settings import largest_file
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.regular_file import read_file, reason_of
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.tables import BucketTable
from skinlesion.stages.settings import PipelineConfig

VERSION: Final = 2
"""Count it up when the processed images change for a reason that is no setting. All of them are then made again."""


def resize(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Write processed_images/<image>.jpg for each original that is accepted or waits for a diagnosis. Others are removed."""
    watch = Stopwatch()
    catalog = read_catalog(config.dataset)
    images = pd.concat([accepted(catalog), waiting(catalog)])
    folder = str(layout.images(config.dataset))
    wanted = images[["image"]].assign(source=source_of(images))
    wanted = wanted.assign(name=wanted["image"] + ".jpg", input=folder + "/" + images["file"])
    outcome = bring_up_to_date(
        stage="resize",
        folder=layout.processed(config.dataset),
        table=BucketTable(layout.tables(config.dataset, "resize"), COLUMNS),
        wanted=wanted,
        settings=config.fingerprint("resize", VERSION),
        make=partial(
            _resize_one,
            folder=layout.processed(config.dataset),
            quality=config.jpeg_quality,
            max_pixels=config.max_image_pixels,
        ),
        image_of=image_of_resized,
        shard=shard,
        workers=config.workers_used(),
        kind="threads",
        force=config.force,
    )
    return watch.report(
        "resize",
        seen=outcome.wanted,
        done=outcome.done,
        refused=len(outcome.refused),
        details={"removed": outcome.removed, "refused_because": dict(list(outcome.refused.items())[:20])},
    )


def source_of(images: pd.DataFrame) -> pd.Series:
    """Return what each resized image is made from: the content of its original, and the version of a conversion of its colours.

    So what was made of colours that are converted is made again when the conversion changes, and nothing else is.

    images: columns sha256 and format, as in the catalog.
    """
    is_converted = images["format"].str.contains(CONVERTED, regex=False)
    return images["sha256"].where(~is_converted, images["sha256"] + f"/{CONVERSION_VERSION}")


def _resize_one(job: Job, *, folder: Path, quality: int, max_pixels: int) -> Made:
    # A row without a source is stale: the next run tries again, even if the file is then as ingest read it.
    for_now = replace(job, source="")
    try:
        content = read_file(job.input, most=largest_file(max_pixels))
        if sha256_of(content) != job.source.partition("/")[0]:
            return Made(for_now, refused="the file changed after ingest had read it; the next run takes it")
        header = read_header(content)
        check_header(header, max_pixels=max_pixels, min_side=1)
        pixels = to_model_size(decode(content, header), header)
    except FileNotFoundError:
        return Made(for_now, refused="the file was removed after ingest had read it")
    except OSError as error:
        return Made(for_now, refused=f"{reason_of(error)}, other than when ingest read it; the next run tries again")
    except ImageRefused as refusal:
        return Made(job, refused=str(refusal))
    return write_made(job, folder, encode_jpeg(pixels, quality))
