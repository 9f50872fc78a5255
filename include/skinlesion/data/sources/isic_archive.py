"""The ISIC Archive by a search query, collections, or both, through its own client, isic-cli."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from skinlesion.data.images.file import ImageRefused, check_decodes, check_header, read_header
from skinlesion.data.sources.http_download import pause
from skinlesion.data.sources.intake import Intake, NameTaken, NotTaken
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.checksum import have_same_content
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import SECONDS_BETWEEN_LINES
from skinlesion.foundation.workers import spread

log = logging.getLogger(__name__)

RUNS: Final = 3
"""isic-cli is run so often for what did not arrive; each run asks for the whole list again, and tries each image
`network_attempts` times."""

FIRST_WAIT: Final = 0.5
"""Seconds before another attempt; doubled for each that follows."""

# As in skinlesion.data.sources.isic_process, which is imported by its own process only: it changes isic-cli.
_COUNTED, _LISTED, _FAILED, _TOLD, _SAID = "counted.json", "listed.jsonl", "failed.jsonl", "told.jsonl", "said.txt"
_WRONG_QUESTION: Final = 2

_TERMS: Final = ("isic_id", "copyright_license", "attribution")


def take_archived(config: SourceSettings, intake: Intake) -> SourceReport:
    """Download the images of the settings' query and collections into images/, their metadata into labels/.

    isic-cli keeps them in isic_archive/ of the data set, where it finds again what it has; images/ holds links to the
    files that have the size that the archive lists, the MD5 that its store tells, if it does, and decode whole. Of an
    image that did not arrive the table has no row. Each image's licence and attribution lie beside the images. Raises
    DataError when the archive does not know what is asked for or has no such image, OSError when it does not answer.
    """
    mirror = config.dataset / "isic_archive"
    record = layout.tables(config.dataset, "isic_archive")
    for folder in (mirror, record):
        folder.mkdir(parents=True, exist_ok=True)
    report = SourceReport()
    missing: dict[str, str] = {}
    listed: dict[str, int] = {}
    for run in range(1, RUNS + 1):
        _run_client(config, mirror, record)
        listed = _read_listed(record, config)
        missing = _take(config, listed, mirror, record, intake, report)
        if not missing:
            break
        log.info("isic archive: %d of %d images did not arrive in run %d", len(missing), len(listed), run)
        if run < RUNS:
            pause(FIRST_WAIT * 2**run)
    report.failed |= missing
    report.already_there = len(listed) - report.arrived - len(report.failed)
    _write_table(mirror, intake)
    if missing and len(missing) == len(listed):
        name, reason = min(missing.items())
        raise OSError(
            f"None of the {len(listed)} images of the ISIC Archive arrived; {name}: {reason}. Try again later."
        )
    return report


def _run_client(config: SourceSettings, mirror: Path, record: Path) -> None:
    told = [record / name for name in (_COUNTED, _LISTED, _FAILED, _SAID)]
    # Partial files are a killed run's: ingest's lock is ours, so no other is at work. What stores told stays: a killed run
    # leaves images that nobody has looked at yet, and isic-cli does not ask for them again.
    for file in (*told, *mirror.glob(".isic-partial.*")):
        file.unlink(missing_ok=True)
    settings = {
        "address": config.isic_address.rstrip("/"),
        "attempts": config.network_attempts,
        "timeout": config.network_timeout,
        "wait": FIRST_WAIT,
        "record": str(record),
        "parent": os.getpid(),
    }
    asked = [f"--search={config.isic_query}", f"--collections={config.isic_collections}", str(mirror)]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "skinlesion.data.sources.isic_process",
            json.dumps(settings),
            "image",
            "download",
            *asked,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                process.wait(SECONDS_BETWEEN_LINES)
                break
            except subprocess.TimeoutExpired:
                log.info("isic archive: %d files are here", sum(1 for _ in os.scandir(mirror)))
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0:
        _raise(process.returncode, config, record)


def _raise(status: int, config: SourceSettings, record: Path) -> None:
    said = record / _SAID
    reason = said.read_text().strip() if said.exists() else f"isic-cli ended with status {status}"
    if status == _WRONG_QUESTION:
        raise DataError(
            f"The ISIC Archive at {config.isic_address} does not take the query {config.isic_query!r} with the collections "
            f"{config.isic_collections!r}: {reason}. Mend the settings `isic_query` and `isic_collections`."
        )
    raise OSError(errno.EIO, f"The ISIC Archive does not answer as expected ({reason})", config.isic_address)


def _read_listed(record: Path, config: SourceSettings) -> dict[str, int]:
    """Give file name -> bytes of every image that the archive listed."""
    counted = json.loads(record.joinpath(_COUNTED).read_text())
    listed, lines = _read_lines(record / _LISTED)
    if not listed:
        raise DataError(
            f"The ISIC Archive at {config.isic_address} has no image for the query {config.isic_query!r} with the "
            f"collections {config.isic_collections!r}. Mend the settings `isic_query` and `isic_collections`."
        )
    if lines != counted:
        raise OSError(
            errno.EIO,
            f"The ISIC Archive counts {counted} images but lists {lines}; it may be changing",
            config.isic_address,
        )
    return listed


def _take(
    config: SourceSettings,
    listed: dict[str, int],
    mirror: Path,
    record: Path,
    intake: Intake,
    report: SourceReport,
) -> dict[str, str]:
    """Give the files that arrived their places; give name -> reason of those that did not arrive."""
    reasons, _ = _read_lines(record / _FAILED)
    md5s, _ = _read_lines(record / _TOLD)
    missing = {}
    new: list[Path] = []
    for name, size in listed.items():
        file = mirror / name
        try:
            found = file.stat().st_size
        except FileNotFoundError:
            missing[name] = reasons.get(name, "it did not arrive")
            continue
        if found != size:
            missing[name] = f"expected {size} bytes, as the archive lists, found {found}"
        elif name not in report.failed and not _is_placed(file, intake):
            new.append(file)
    problem = partial(_problem, md5s=md5s, max_pixels=config.max_image_pixels, min_side=config.min_image_side)
    for file, damage in zip(new, spread(problem, new, workers=config.workers_used(), kind="threads"), strict=True):
        if damage:
            missing[file.name] = damage
            file.unlink()  # isic-cli would take it for the right one by its size
            continue
        try:
            _place(file, intake)
        except NotTaken as reason:
            report.failed[file.name] = str(reason)
        else:
            report.arrived += 1
    return missing


def _read_lines(path: Path) -> tuple[dict[str, Any], int]:
    """Give file name -> value of what isic_process told, the last of each name, and the number of lines."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(ValueError):  # half a line, of a killed run
            lines.append(json.loads(line))
    return dict(lines), len(lines)


def _is_placed(file: Path, intake: Intake) -> bool:
    """Tell whether the name is held by this very file, or, where the file system has no links, by a copy of it."""
    try:
        holder = intake.holder(intake.place(file.name))
    except NotTaken:
        return False
    if holder is None:
        return False
    if holder.exists() and holder.samefile(file):
        return True
    return file.stat().st_nlink == 1 and have_same_content(holder, file)


def _problem(file: Path, *, md5s: dict[str, str], max_pixels: int, min_side: int) -> str:
    """Give what is damaged about an image. One that is whole but cannot be used is left to ingest, which refuses it."""
    content = file.read_bytes()
    expected, found = md5s.get(file.name), hashlib.md5(content, usedforsecurity=False).hexdigest()
    if expected is not None and found != expected:
        return f"expected MD5 {expected}, as its store tells, found {found}"
    try:
        header = read_header(content)
        try:
            check_header(header, max_pixels=max_pixels, min_side=min_side)
        except ImageRefused:
            return ""
        check_decodes(content, header)
    except ImageRefused as refusal:
        return f"{refusal}, though it has the size that the archive lists"
    return ""


def _place(file: Path, intake: Intake) -> None:
    place = intake.place(file.name)
    with intake.writing(place) as link:
        try:
            os.link(file, link)
        except OSError:  # a file system without links
            shutil.copyfile(file, link)
        try:
            intake.put(link, place)
        except NameTaken as taken:
            if not have_same_content(taken.holder, file):
                raise


def _write_table(mirror: Path, intake: Intake) -> None:
    """Write the rows of metadata.csv whose images are here into labels/, and everybody's terms beside the images."""
    with (mirror / "metadata.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = list(reader.fieldnames or ())
        rows = [row for row in reader if intake.holder(intake.images / f"{row['isic_id']}.jpg") is not None]
    table = intake.labels / "isic_archive.csv"
    if not rows:  # a table without rows would end the run, as one that its user forgot to fill does
        table.unlink(missing_ok=True)
        return
    atomic.write_if_changed(table, _csv(columns, rows))
    atomic.write_if_changed(intake.images / "ATTRIBUTION.isic_archive.csv", _csv(list(_TERMS), rows))
    for licence in sorted((mirror / "licenses").glob("*.txt")):
        atomic.write_if_changed(intake.images / f"LICENSE.isic_archive.{licence.name}", licence.read_bytes())


def _csv(columns: list[str], rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
