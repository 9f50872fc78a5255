"""The ISIC Archive by a search query, collections, or both: what is new there is downloaded."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, NamedTuple

import httpx
import pandas as pd
from pydantic import JsonValue

from skinlesion.data.images.file import ImageRefused, check_decodes, check_header, read_header
from skinlesion.data.sources.http_download import Unavailable, pause
from skinlesion.data.sources.intake import Intake, NameTaken, NotTaken, require_size
from skinlesion.data.sources.isic_api import FIRST_COLUMNS, Archive, ArchivedImage, Listed, NotWhole
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.workers import spread

log = logging.getLogger(__name__)

ROUNDS: Final = 3
"""Number of times that what did not arrive is asked for, with fresh links; each image `network_attempts` times."""


def take_archived(config: SourceSettings, intake: Intake) -> SourceReport:
    """Download the images of the settings' query and collections into images/, their metadata into labels/.

    An image that lies there with the size that the archive lists is not downloaded again. A new one must have that size,
    the MD5 that its server sends, if it does, and decode whole. An image that did not arrive has no row in the table. Each
    image's licence and attribution lie beside the images. Raises DataError when the archive does not know what is asked
    for or has no such image, OSError when it does not answer or no image at all arrives.
    """
    report = SourceReport()
    with Archive(config) as archive:
        listed = archive.search()
        wanted = [image for image in listed if _is_wanted(image, intake, report)]
        missing: dict[str, str] = {}
        for number in range(1, ROUNDS + 1):
            missing = _take(archive, config, wanted, intake, report)
            wanted = [image for image in wanted if image.file_name in missing]
            if not wanted:
                break
            log.info("isic archive: %d of %d images did not arrive in round %d", len(missing), len(listed), number)
            if number < ROUNDS:
                pause(2**number)
        report.failed |= missing
        report.already_there = len(listed) - report.arrived - len(report.failed)
        _write_table(archive, listed, intake)
    if missing and len(missing) == len(listed):
        name, reason = min(missing.items())
        raise OSError(
            f"None of the {len(listed)} images of the ISIC Archive arrived; {name}: {reason}. Try again later."
        )
    return report


def _is_wanted(image: Listed, intake: Intake, report: SourceReport) -> bool:
    """Return whether an image is to be downloaded; what can never get its place is counted as failed."""
    try:
        holder = intake.holder(intake.place(image.file_name))
        if holder is not None and holder.exists() and holder.stat().st_size != image.size:
            raise NameTaken(holder)
    except NotTaken as reason:
        report.failed[image.file_name] = str(reason)
        return False
    return holder is None or not holder.exists()


def _take(
    archive: Archive, config: SourceSettings, wanted: list[Listed], intake: Intake, report: SourceReport
) -> dict[str, str]:
    """Download images and give them their places. Returns the reason for each that did not arrive, by its name."""
    missing = {image.file_name: "the archive no longer lists it" for image in wanted}
    take = partial(_take_one, archive=archive, config=config, intake=intake)
    with progress("isic archive", len(wanted)) as advance:
        outcomes = spread(take, _fresh(archive, wanted), workers=config.connections, kind="threads")
        for name, reason, is_final in outcomes:
            advance(1)
            missing.pop(name, None)
            if not reason:
                report.arrived += 1
            elif is_final:
                report.failed[name] = reason
            else:
                missing[name] = reason
    return missing


def _fresh(archive: Archive, wanted: Iterable[Listed]) -> Iterator[ArchivedImage]:
    """Yield the wanted images with links that are new: those of the search may have expired."""
    for address, images in itertools.groupby(wanted, key=lambda image: image.page):
        names = {image.file_name for image in images}
        yield from (image for image in archive.page(address).results if image.file_name in names)


class _Outcome(NamedTuple):
    """What became of an image: no reason when it arrived; a final reason is not cured by another download."""

    name: str
    reason: str = ""
    is_final: bool = False


def _take_one(image: ArchivedImage, *, archive: Archive, config: SourceSettings, intake: Intake) -> _Outcome:
    name, content = image.file_name, b""
    try:
        require_size(image.files.full.size, config.largest_file)
        content = archive.content(image)
        _require_whole(content, max_pixels=config.max_image_pixels, min_side=config.min_image_side)
        place = intake.place(name)
        with intake.writing(place) as partial_file:
            partial_file.write_bytes(content)
            intake.put(partial_file, place)
    except NameTaken as taken:
        if sha256_of(taken.holder) != sha256_of(content):
            return _Outcome(name, str(taken), is_final=True)
    except NotTaken as reason:
        return _Outcome(name, str(reason), is_final=True)
    except (NotWhole, DataError, Unavailable, httpx.HTTPError, httpx.InvalidURL) as error:
        return _Outcome(name, str(error) or type(error).__name__)
    return _Outcome(name)


def _require_whole(content: bytes, *, max_pixels: int, min_side: int) -> None:
    """Raise NotWhole for a damaged image. One that is whole but cannot be used is left to ingest, which refuses it."""
    try:
        header = read_header(content)
        try:
            check_header(header, max_pixels=max_pixels, min_side=min_side)
        except ImageRefused:
            return
        check_decodes(content, header)
    except ImageRefused as refusal:
        raise NotWhole(f"{refusal}, though it has the size that the archive lists") from None


def _write_table(archive: Archive, listed: list[Listed], intake: Intake) -> None:
    """Write the rows of the images that are here into labels/, and licences and attributions beside the images."""
    rows = [image.row for image in listed if intake.holder(intake.images / f"{image.row['isic_id']}.jpg") is not None]
    table = intake.labels / "isic_archive.csv"
    if not rows:  # a table without rows would end the run, as one that its user forgot to fill does
        table.unlink(missing_ok=True)
        return
    others = sorted({column for row in rows for column in row}.difference(FIRST_COLUMNS))
    atomic.write_if_changed(table, _csv([*FIRST_COLUMNS, *others], rows))
    atomic.write_if_changed(
        intake.images / "ATTRIBUTION.isic_archive.csv", _csv(["isic_id", "copyright_license", "attribution"], rows)
    )
    for licence in sorted({str(row["copyright_license"]) for row in rows}):
        path = intake.images / f"LICENSE.isic_archive.{licence}.txt"
        if not path.exists():
            atomic.write_bytes(path, archive.licence(licence))


def _csv(columns: list[str], rows: list[dict[str, JsonValue]]) -> bytes:
    return pd.DataFrame(rows, columns=columns, dtype="object").to_csv(index=False).encode()
