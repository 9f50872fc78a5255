"""The folder of a data set as ingest needs it: with images/, and locked by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skinlesion.data.sources import any_source
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked


@contextmanager
def held_for_ingest(config: SourceSettings) -> Iterator[None]:
    """Hold the lock of the data set, which is made if a source will fill it. Raises DataError where there is none.

    Raises DatasetBusy while another process ingests it, or collects for it.
    """
    if any_source(config):
        config.dataset.mkdir(parents=True, exist_ok=True)
    if not config.dataset.is_dir():
        raise DataError(
            f"{config.dataset} is missing: expected a folder with images/ and diagnoses.csv or labels/. Create it, point the "
            "setting `dataset` elsewhere, or make a sample with `skinlesion sample DIR`."
        )
    with locked(config.dataset, "ingest", wait=config.ingest_wait):
        yield


def require_images(dataset: Path) -> None:
    """Raise DataError where the folder of original images is missing."""
    images = layout.images(dataset)
    if not images.is_dir():
        raise DataError(f"{images} is missing: expected a folder with the image files that the tables of labels name.")
