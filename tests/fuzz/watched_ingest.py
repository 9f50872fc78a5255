"""Run the gate in a process that ends itself when one file, or one table, takes longer than half a minute.

`python watched_ingest.py images DATASET SUMMARY` ingests and resizes a data set once. `... tables DATASET SUMMARY` reads
each table of DATASET/tables_to_read, and ingests the data set with each of DATASET/tables_to_ingest. A thread of the
process watches, so a decoder that never comes back is seen too.
"""

from __future__ import annotations

import faulthandler
import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skinlesion.data import examined_files
from skinlesion.data.catalog import accepted, read_catalog
from skinlesion.data.labels.join import join_tables
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.stages import ingest, resize
from skinlesion.stages.settings import PipelineConfig

SECONDS = 30


def watched(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def watch(*arguments: Any, **options: Any) -> Any:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            return function(*arguments, **options)
        finally:
            faulthandler.cancel_dump_traceback_later()

    return watch


def images(config: PipelineConfig) -> dict[str, str]:
    """Return the reason by image, empty for those of which resize made a picture."""
    for module, names in ((examined_files, ("read_header", "check_decodes")), (resize, ("read_header", "decode"))):
        for name in names:
            setattr(module, name, watched(getattr(module, name)))
    ingest.ingest(config)
    resize.resize(config)
    catalog = read_catalog(config.dataset)
    made = {path.stem for path in layout.processed(config.dataset).glob("*.jpg")}
    return {
        image: refused or ("" if image in made else "refused by resize")
        for image, refused in zip(catalog["image"], catalog["refused"], strict=True)
    }


def tables(config: PipelineConfig) -> dict[str, Any]:
    """Give, by table, its message or the images that are used with it."""
    found: dict[str, Any] = {}

    def read(path: Path) -> list[str]:
        labels = join_tables([path]).rows
        return labels.loc[labels["refused"] == "", "image"].tolist()

    def take(path: Path) -> list[str]:
        layout.diagnoses(config.dataset).write_bytes(path.read_bytes())
        ingest.ingest(config)
        return accepted(read_catalog(config.dataset))["image"].tolist()

    for folder, function in (("tables_to_read", read), ("tables_to_ingest", take)):
        for path in sorted((config.dataset / folder).iterdir()):
            try:
                found[f"{folder}/{path.name}"] = watched(function)(path)
            except DataError as error:
                found[f"{folder}/{path.name}"] = str(error)
    return found


if __name__ == "__main__":
    what, dataset, summary = sys.argv[1:]
    os.fsync = lambda fd: None
    atomic.flush_all = lambda folder: None
    # One worker: in this thread, one file after the other. The shares are what is wanted here, so they stop nothing.
    config = PipelineConfig.of(
        {"dataset": Path(dataset), "workers": 1, "max_refused_share": 1, "require_classes": False}
    )
    Path(summary).write_text(json.dumps({"images": images, "tables": tables}[what](config)))
