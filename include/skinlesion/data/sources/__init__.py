"""Where images and labels come from, one file for each source: all of it goes to images/ and labels/ of the data set."""

from __future__ import annotations

from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceSummary
from skinlesion.foundation import atomic, layout


def any_source(config: SourceSettings) -> bool:
    """Return whether the settings name a source besides what lies in images/."""
    return bool(config.drop_folder or config.object_store or config.isic_query or config.isic_collections)


def collect(config: SourceSettings) -> dict[str, SourceSummary]:
    """Bring what the named sources have into images/ and labels/. Returns a summary by the name of each source.

    What fails in a source is counted with its reason, and the rest arrives. Raises DataError when a setting of a source is
    wrong, and OSError when a source cannot be reached at all.
    """
    if not any_source(config):
        return {}
    from skinlesion.data.sources.drop_folder import take_dropped
    from skinlesion.data.sources.intake import Intake
    from skinlesion.data.sources.isic_archive import take_archived
    from skinlesion.data.sources.object_store import take_stored

    for folder in (layout.images(config.dataset), layout.labels(config.dataset)):
        folder.mkdir(parents=True, exist_ok=True)
        atomic.remove_partials(folder)
    intake = Intake(config.dataset)
    reports = {}
    if config.drop_folder:
        reports["drop_folder"] = take_dropped(config, intake)
    if config.object_store:
        reports["object_store"] = take_stored(config, intake)
    if config.isic_query or config.isic_collections:
        reports["isic_archive"] = take_archived(config, intake)
    for name, report in reports.items():
        report.log(name)
    return {name: report.summary() for name, report in reports.items()}
