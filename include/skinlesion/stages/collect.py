"""Collect: what the sources have comes into the data set, once, before several workers examine its images."""

from __future__ import annotations

from skinlesion.data.folder import held_for_ingest, require_images
from skinlesion.data.labels.of_dataset import labels_of_dataset
from skinlesion.data.sources import collect as collect_from_sources
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.stages.settings import PipelineConfig


def collect(config: PipelineConfig) -> StageReport:
    """Bring what the sources have into images/ and labels/, as ingest does by itself; counts files over all sources.

    Raises DataError when the data set has no images/ or its tables of labels cannot be used, and DatasetBusy while another
    process ingests it.
    """
    watch = Stopwatch()
    with held_for_ingest(config):
        sources = collect_from_sources(config)
        require_images(config.dataset)
        # Ingest reads the tables again; a wrong one is told here, before the images are read for hours.
        labels_of_dataset(config)
    arrived = sum(source.arrived for source in sources.values())
    skipped = sum(source.already_there + source.waiting for source in sources.values())
    failed = sum(source.failed for source in sources.values())
    return StageReport(
        stage="collect",
        seen=arrived + skipped + failed,
        done=arrived,
        skipped=skipped,
        refused=failed,
        seconds=watch.seconds(),
        details={"sources": {name: source.model_dump() for name, source in sources.items()}},
    )
