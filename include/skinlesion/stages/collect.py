"""Collect: bring new files of the sources into the data set, once, before several workers examine its images."""

from __future__ import annotations

from skinlesion.data.folder import held_for_ingest, require_images
from skinlesion.data.labels import review_log
from skinlesion.data.sources import collect as collect_from_sources
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.stages.quiet.look import Look
from skinlesion.stages.settings import PipelineConfig


def collect(config: PipelineConfig) -> StageReport:
    """Bring new files of the sources into images/ and labels/, as ingest alone would. The report counts files of all sources.

    Raises DataError if the data set has no images/ or its tables of labels cannot be used, and DatasetBusy while another
    process ingests it.
    """
    watch = Stopwatch()
    with held_for_ingest(config):
        sources = collect_from_sources(config)
        require_images(config.dataset)
        reviews = review_log.write_table(config.dataset)
        look = Look("collect", config)
        tables_as_before = look.report() is not None
        if not tables_as_before:
            # Ingest reads the tables again. Here they are checked before reading the images, which takes hours.
            from skinlesion.data.labels.of_dataset import labels_of_dataset

            labels_of_dataset(config, reviews)
    arrived = sum(source.arrived for source in sources.values())
    skipped = sum(source.already_there + source.waiting for source in sources.values())
    failed = sum(source.failed for source in sources.values())
    report = watch.report(
        "collect",
        seen=arrived + skipped + failed,
        done=arrived,
        skipped=skipped,
        refused=failed,
        details={"sources": {name: source.model_dump() for name, source in sources.items()}},
    )
    if not tables_as_before:
        look.note(report)
    return report
