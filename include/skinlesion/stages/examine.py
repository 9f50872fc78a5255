"""Examine: read, hash and decode each new image file, so that ingest need not."""

from __future__ import annotations

from skinlesion.data.examined_files import examined_files
from skinlesion.data.folder import require_images
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.stages.settings import PipelineConfig


def examine(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Record for a shard of images/ what each file holds, as ingest otherwise does for all of them.

    `refused` in the report counts the files that cannot be used; the report of ingest has the reasons. Raises DataError if
    images/ is missing.
    """
    watch = Stopwatch()
    require_images(config.dataset)
    files, read, *_ = examined_files(config, shard, again=config.force)
    return watch.report(
        "examine",
        seen=len(files),
        done=read,
        refused=int((files["reason"] != "").sum()),
    )
