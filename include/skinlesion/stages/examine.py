"""Examine: each new image file is read, hashed and decoded, so that ingest finds it known."""

from __future__ import annotations

from skinlesion.data.examined_files import examined_files
from skinlesion.data.folder import require_images
from skinlesion.foundation.shard import WHOLE, Shard
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.stages.settings import PipelineConfig


def examine(config: PipelineConfig, shard: Shard = WHOLE) -> StageReport:
    """Do for a shard of images/ what ingest otherwise does by itself: remember of each file what it holds.

    `refused` counts the files that cannot be used; ingest says why. Raises DataError when images/ is missing.
    """
    watch = Stopwatch()
    require_images(config.dataset)
    files, read, _ = examined_files(config, shard, again=config.force)
    return StageReport(
        stage="examine",
        seen=len(files),
        done=read,
        skipped=len(files) - read,
        refused=int((files["reason"] != "").sum()),
        seconds=watch.seconds(),
    )
