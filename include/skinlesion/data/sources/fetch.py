"""Download the official zips and tables of a published data set into a folder that ingest can read."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pandas as pd

from skinlesion.data.labels.csv_file import LARGEST_TABLE
from skinlesion.data.sources import zip_archive
from skinlesion.data.sources.http_download import DOWNLOADS_OF_A_WRONG_FILE, download
from skinlesion.data.sources.intake import Intake, NameTaken, NotTaken
from skinlesion.data.sources.official_sets import SETS, OfficialFile
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import have_same_content
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.lock import locked
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import NotAFile, open_file
from skinlesion.foundation.tables import read_table, write_table

log = logging.getLogger(__name__)

LARGEST_FILE: Final = 100 * 1024**3
"""Bytes; ten times the largest official zip."""

PLACED_COLUMNS: Final = {"file": "str", "size": "int64"}
"""The files that an official file left in the folder; while all are there, it is not downloaded again."""

_NAMED: Final = 5  # damaged members named in an error


@dataclass
class FetchReport:
    """What became of each file of the set; `placed` counts images and tables."""

    folder: Path
    files: dict[str, str] = field(default_factory=dict)
    placed: SourceReport = field(default_factory=SourceReport)


def fetch(name: str, folder: Path, config: SourceSettings, *, keep_zips: bool = False) -> FetchReport:
    """Download a set of `SETS` into images/ and labels/ of a folder, with its licence and attribution beside the images.

    Goes on where an earlier call stopped, and does nothing when all is there. A zip is removed once all of it is
    unpacked, unless `keep_zips`. Raises DataError for an unknown set, a wrong address, and a file that is not what its
    publisher says; OSErrors of network and disk, after which another call goes on.
    """
    official = SETS.get(name)
    if official is None:
        raise DataError(f"There is no set {name!r} to fetch; expected one of {', '.join(SETS)}.")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, "fetch", wait=config.ingest_wait):
        for path in (layout.images(folder), layout.labels(folder)):
            path.mkdir(exist_ok=True)
            atomic.remove_partials(path)
        for kind, text in (("LICENSE", official.licence), ("ATTRIBUTION", official.attribution)):
            atomic.write_if_changed(layout.images(folder) / f"{kind}.{name}.txt", text.encode())
        report = FetchReport(folder)
        intake = Intake(folder)
        for file in official.files:
            record = layout.tables(folder, "fetch") / f"{file.name}.parquet"
            if not config.force and (count := _still_there(record, folder)):
                report.placed.already_there += count
                report.files[file.name] = "there already"
                continue
            target = folder / "downloads" / file.name
            placed, attempt = _fetch_file(file, official.address(file, config), target, config, intake)
            report.placed.add(attempt)
            report.files[file.name] = (
                f"{attempt.arrived} arrived, {attempt.already_there} there already, {len(attempt.failed)} not taken"
            )
            if attempt.failed:  # these are taken from the same zip when their names are free
                continue
            rows = [(str(path.relative_to(folder)), path.stat().st_size) for path in placed]
            write_table(record, pd.DataFrame(rows, columns=list(PLACED_COLUMNS)), PLACED_COLUMNS)
            if not keep_zips:
                target.unlink()
        return report


def _still_there(record: Path, folder: Path) -> int:
    """Return the number of files that were placed before, 0 when any of them is missing or has another size."""
    try:
        rows = read_table(record, PLACED_COLUMNS)
        sizes = [os.stat(folder / name).st_size for name in rows["file"]]
    except FileNotFoundError:
        return 0
    except OSError as error:
        log.warning("%s; what it recorded is downloaded again", error)
        return 0
    return len(rows) if sizes == rows["size"].tolist() else 0


def _fetch_file(
    file: OfficialFile, address: str, target: Path, config: SourceSettings, intake: Intake
) -> tuple[list[Path], SourceReport]:
    """Download one file and place what it holds. Returns the paths that hold its content now, and the counts."""
    # Another download of a file with the right checksum brings the same bytes.
    downloads = 1 if file.checksum else DOWNLOADS_OF_A_WRONG_FILE
    arrived = 0
    damaged: list[str] = []
    for _ in range(downloads):
        if not os.path.lexists(target):
            download(
                address,
                target,
                checksum=file.checksum,
                limit=LARGEST_FILE,
                timeout=config.network_timeout,
                attempts=config.network_attempts,
            )
        report = SourceReport(arrived=arrived)
        placed, damaged = _place_all(target, intake, report)
        atomic.flush_all(intake.images.parent)
        if not damaged:
            return placed, report
        log.warning("%s: %d members are damaged (%s)", file.name, len(damaged), damaged[0])
        arrived = report.arrived
        target.unlink()
    raise DataError(
        f"{address}: {len(damaged)} of its members are damaged in each of {downloads} downloads: "
        f"{'; '.join(damaged[:_NAMED])}. The others are in {intake.images.parent}."
    )


def _place_all(path: Path, intake: Intake, report: SourceReport) -> tuple[list[Path], list[str]]:
    """Place what a file holds. Returns the paths that hold it now, and what is damaged in it."""
    placed, damaged = [], []
    try:
        for content in _contents(path):
            try:
                place = _place(content, intake, report)
            except zip_archive.Damaged as damage:
                damaged.append(str(damage))
            else:
                placed += [place] if place else []
    except zip_archive.Damaged as damage:
        damaged.append(str(damage))
    return placed, damaged


class _Content(NamedTuple):
    """One file to place: `write` writes it to a path, `is_same` returns whether a path holds it already."""

    name: str
    write: Callable[[Path], object]
    is_same: Callable[[Path], bool]


def _contents(path: Path) -> Iterator[_Content]:
    """Yield the files of a zip, or the table itself. Raises Damaged when a zip is none, or cut off."""
    try:
        file = open_file(path, most=LARGEST_FILE if path.suffix == ".zip" else LARGEST_TABLE, links=False)
    except NotAFile as error:
        raise DataError(f"{error}. Remove it, and fetch downloads the file.") from None
    if path.suffix != ".zip":
        file.close()
        yield _Content(path.name, partial(shutil.copyfile, path), partial(have_same_content, path))
        return
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise zip_archive.Damaged(f"{path.name} is no whole zip file ({error})") from None
        members = zip_archive.files_of(archive, path.name)
        with progress("unpack", len(members), unit="files") as advance:
            for member in members:
                advance(1)
                name = Path(member.filename).name  # the official zips keep their images in a folder of their own name
                write = partial(zip_archive.write_member, archive, member)
                yield _Content(name, write, partial(zip_archive.holds, member))


def _place(content: _Content, intake: Intake, report: SourceReport) -> Path | None:
    """Return where the file lies now; None when it is no image or table, or another file has its name."""
    try:
        place = intake.place(content.name)
    except NotTaken:  # the licence and the notes of the zips
        return None
    try:
        if (holder := intake.holder(place)) is not None:
            raise NameTaken(holder)
        with intake.writing(place) as partial_file:
            content.write(partial_file)
            intake.put(partial_file, place, durable=False)
    except NameTaken as taken:
        if not content.is_same(taken.holder):
            report.failed[content.name] = str(taken)
            return None
        report.already_there += 1
        return taken.holder
    report.arrived += 1
    return place
