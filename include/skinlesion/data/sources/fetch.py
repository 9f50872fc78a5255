"""The official zips and tables of a published data set, by HTTP, into a folder that ingest can read."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from skinlesion.data.sources import zip_archive
from skinlesion.data.sources.http_download import DOWNLOADS_OF_A_WRONG_FILE, Show, download
from skinlesion.data.sources.intake import Intake, NameTaken, NotTaken
from skinlesion.data.sources.official_sets import SETS, OfficialFile, OfficialSet
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import have_same_content
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.progress import progress
from skinlesion.foundation.tables import read_table, write_table

log = logging.getLogger(__name__)

LARGEST_FILE: Final = 100 * 1024**3
"""Bytes; ten times the largest official zip."""

PLACED_COLUMNS: Final = {"file": "str", "size": "int64"}
"""What a file of a set left in the folder; while all of it is there, the file is not downloaded again."""

_MB: Final = 1_000_000
_LARGEST_LIST: Final = 5  # damaged members named in an error


@dataclass
class FetchReport:
    """files: what became of each file of the set; images and tables are counted in `placed`."""

    name: str
    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    placed: SourceReport = field(default_factory=SourceReport)

    def as_dict(self) -> dict[str, Any]:
        """Give the report as a JSON-able dictionary."""
        return {"set": self.name, "folder": str(self.folder), "files": self.files} | self.placed.told("fetch")


def fetch(name: str, folder: Path, config: SourceSettings, *, keep_zips: bool = False) -> FetchReport:
    """Download a set of `SETS` into images/ and labels/ of a folder, with its licence and attribution beside the images.

    Goes on where an earlier call stopped, and does nothing when all is there. A zip goes once all of it is unpacked,
    unless it is to be kept. Raises DataError for an unknown set, a wrong address, and a file that is not what its publisher says;
    OSErrors of network and disk, after which another call goes on.
    """
    official = SETS.get(name)
    if official is None:
        raise DataError(f"There is no set {name!r} to fetch; expected one of {', '.join(SETS)}.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "fetch", wait=config.ingest_wait):
        for path in (layout.images(folder), layout.labels(folder)):
            path.mkdir(exist_ok=True)
            atomic.remove_partials(path)
        _write_terms(name, official, layout.images(folder))
        report = FetchReport(name, folder)
        intake = Intake(folder)
        for file in official.files:
            report.files[file.name] = _fetch_file(official, file, folder, config, intake, report.placed, keep_zips)
        return report


def _write_terms(name: str, official: OfficialSet, images: Path) -> None:
    note = f"Images and metadata of {official.title} stand under this licence:\n\n{official.licence}"
    atomic.write_if_changed(images / f"LICENSE.{name}.txt", note.encode())
    atomic.write_if_changed(images / f"ATTRIBUTION.{name}.txt", official.attribution.encode())


def _fetch_file(
    official: OfficialSet,
    file: OfficialFile,
    folder: Path,
    config: SourceSettings,
    intake: Intake,
    report: SourceReport,
    keep_zips: bool,
) -> str:
    record = layout.tables(folder, "fetch") / f"{file.name}.parquet"
    if not config.force and (count := _still_there(record, folder)):
        report.already_there += count
        return "there already"
    target = folder / "downloads" / file.name
    address = official.address(file, config)
    place = _unpack if file.is_zip else _place_table
    damaged: list[str] = []
    # Of a file whose checksum is right another download brings nothing else.
    downloads = 1 if file.checksum else DOWNLOADS_OF_A_WRONG_FILE
    for _ in range(downloads):
        if not target.exists():
            with _shown(file.name) as show:
                download(
                    address,
                    target,
                    checksum=file.checksum,
                    limit=LARGEST_FILE,
                    timeout=config.network_timeout,
                    attempts=config.network_attempts,
                    show=show,
                )
        attempt = SourceReport()
        placed, damaged = place(target, intake, attempt)
        report.arrived += attempt.arrived
        if not damaged:
            break
        log.warning("%s: %d members are damaged (%s)", file.name, len(damaged), damaged[0])
        target.unlink()
    else:
        raise DataError(
            f"{address}: {len(damaged)} of its members are damaged in each of {downloads} downloads: "
            f"{'; '.join(damaged[:_LARGEST_LIST])}. The others are in {folder}."
        )
    report.already_there += attempt.already_there
    report.failed |= attempt.failed
    os.sync()
    if not attempt.failed:
        rows = [(str(path.relative_to(folder)), path.stat().st_size) for path in placed]
        write_table(record, pd.DataFrame(rows, columns=list(PLACED_COLUMNS)), PLACED_COLUMNS)
    # What was not taken would have to come again, when its name is free.
    if not keep_zips and not attempt.failed:
        target.unlink()
    return f"{attempt.arrived} arrived, {attempt.already_there} there already, {len(attempt.failed)} not taken"


def _still_there(record: Path, folder: Path) -> int:
    """Give the number of files that were placed before, 0 when any of them is missing or has another size."""
    try:
        rows = read_table(record, PLACED_COLUMNS)
    except (OSError, pa.ArrowException):
        return 0
    for name, size in zip(rows["file"], rows["size"], strict=True):
        try:
            if os.stat(folder / name).st_size != size:
                return 0
        except FileNotFoundError:
            return 0
    return len(rows)


Placed = tuple[list[Path], list[str]]
"""The paths in the data set that hold a file's content, and what is damaged in it."""


def _place_table(path: Path, intake: Intake, report: SourceReport) -> Placed:
    place = intake.place(path.name)
    try:
        with intake.writing(place) as partial:
            partial.write_bytes(path.read_bytes())
            intake.put(partial, place)
    except NameTaken as taken:
        if not have_same_content(taken.holder, path):
            report.failed[path.name] = str(taken)
            return [], []
        report.already_there += 1
    else:
        report.arrived += 1
    return [place], []


def _unpack(path: Path, intake: Intake, report: SourceReport) -> Placed:
    placed, damaged = [], []
    try:
        with zip_archive.opened(path) as archive:
            members = zip_archive.files_of(archive, path.name)
            with progress("unpack", len(members), unit="files") as advance:
                for member in members:
                    advance(1)
                    try:
                        place = _place_member(archive, member, intake, report)
                    except zip_archive.Damaged as damage:
                        damaged.append(str(damage))
                    else:
                        if place is not None:
                            placed.append(place)
    except zip_archive.Damaged as damage:
        return [], [str(damage)]
    return placed, damaged


def _place_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, intake: Intake, report: SourceReport
) -> Path | None:
    """Give where a member lies now; None for one that is no image or table, or whose name is another file's."""
    name = Path(member.filename).name  # the zips keep their images in a folder of their own name
    try:
        place = intake.place(name)
    except NotTaken:  # their own licence and notes
        return None
    try:
        holder = intake.holder(place)
        if holder is not None:
            raise NameTaken(holder)
        with intake.writing(place) as partial:
            zip_archive.write_member(archive, member, partial)
            intake.put(partial, place, durable=False)
    except NameTaken as taken:
        if not zip_archive.holds(taken.holder, member):
            report.failed[name] = str(taken)
            return None
        report.already_there += 1
        return taken.holder
    report.arrived += 1
    return place


@contextmanager
def _shown(name: str) -> Iterator[Show]:
    """Give what draws the progress of one download, in MB; it starts when the size is known."""
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None
        shown = 0

        def show(here: int, whole: int | None) -> None:
            nonlocal advance, shown
            if advance is None:
                advance = stack.enter_context(progress(name, (whole or 0) // _MB, unit="MB"))
            advance(here // _MB - shown)
            shown = here // _MB

        yield show
