"""The drop folder: people put images and tables there, and complete files move into the data set."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import stat
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from skinlesion.data.images.file import ImageRefused, check_decodes, check_header, read_header
from skinlesion.data.images.formats import SUFFIXES, head_of, is_image, why_unread
from skinlesion.data.sources.intake import TABLE_SUFFIX, Intake, NameTaken, NotTaken, require_size
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import have_same_content
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import DISK_FULL, open_file, read_file, reason_of
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.foundation.workers import spread

UNFINISHED: Final = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download")
"""Suffixes that browsers and copying programs give to files that they are still writing."""

GIVEN_UP_AFTER_SECONDS: Final = 24 * 3600
"""A file that does not decode and has not changed for so long is damaged; until then it may still be growing."""

_OF_THE_DATA_SET: Final = ("images", "labels", "tables", "processed_images", "features")


class Dropped(NamedTuple):
    """A file in the drop folder: its name relative to the folder, and what shows that the file changed."""

    name: str
    path: Path
    size: int
    inode: int
    mtime_ns: int
    ctime_ns: int


class Verdict(NamedTuple):
    """The reason why a file cannot be moved, empty when it can, and whether a later run may find it complete."""

    reason: str = ""
    may_change: bool = False


def take_dropped(config: SourceSettings, intake: Intake) -> SourceReport:
    """Move every complete image and table of the drop folder into the data set; what is not taken stays where it is.

    A file is complete when nothing has changed it for `drop_settle_seconds`, no process of this machine has it open for
    writing, and, if it is an image, it decodes whole. A file whose name is taken by other content stays; one whose content
    is already there is removed. Raises DataError when there is no such folder, or the folder holds the data set itself.
    """
    folder = _folder(config)
    report = SourceReport()
    files = _find_files(folder, report)
    judge = partial(
        _judge,
        settle=config.drop_settle_seconds,
        largest=config.largest_file,
        max_pixels=config.max_image_pixels,
        min_side=config.min_image_side,
    )
    with progress("drop folder", len(files), unit="files") as advance:
        verdicts = spread(judge, files, workers=config.workers_used(), kind="threads")
        for file, verdict in zip(files, verdicts, strict=True):
            advance(1)
            if verdict.reason:
                (report.waiting if verdict.may_change else report.failed)[file.name] = verdict.reason
                continue
            try:
                _take(file, intake, report)
            except NotTaken as reason:
                report.failed[file.name] = str(reason)
            except OSError as error:
                # A folder in images/ may be a link to another file system.
                is_of_place = error.errno == errno.EXDEV or isinstance(error, FileNotFoundError | PermissionError)
                if error.errno in DISK_FULL or not (is_of_place or error.filename == str(file.path)):
                    raise
                report.failed[file.name] = f"{reason_of(error)}: {error.filename}"
    return report


def _folder(config: SourceSettings) -> Path:
    folder = PROJECT_ROOT / config.drop_folder
    if not config.drop_folder or not folder.is_dir():
        raise DataError(
            f"The drop folder {folder} is missing: expected a folder. Create it, mount it, or empty the setting "
            "`drop_folder`."
        )
    where, dataset = folder.resolve(), config.dataset.resolve()
    own = [dataset.joinpath(name).resolve() for name in _OF_THE_DATA_SET]
    if where == dataset or where in dataset.parents or any(where == path or path in where.parents for path in own):
        raise DataError(
            f"The drop folder {folder} holds the data set's own files: files are moved away from a drop folder. Expected "
            f"a folder of its own, not {config.dataset}, one above it, or one of {', '.join(_OF_THE_DATA_SET)} in it."
        )
    return folder


def _find_files(folder: Path, report: SourceReport) -> list[Dropped]:
    """Return the images and tables that have their final names; what else lies there goes into the report."""

    def cannot_list(error: OSError) -> None:
        report.failed[str(error.filename)] = f"cannot be listed: {error.strerror}"

    found = []
    for parent, folders, names in os.walk(folder, onerror=cannot_list):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for link in filter(Path.is_symlink, (Path(parent, name) for name in folders)):
            report.failed[str(link.relative_to(folder))] = "a link to a folder; only files are taken"
        for name in sorted(names):
            path = Path(parent, name)
            relative = str(path.relative_to(folder))
            suffix = path.suffix.lower()
            if name.startswith(".") or suffix in UNFINISHED:
                report.waiting[relative] = "hidden, or with the name of a file that is still being written"
            else:
                try:
                    file = _regular_file(relative, path)
                    if file is not None and suffix not in SUFFIXES and suffix != TABLE_SUFFIX:
                        head = head_of(path)
                        if not is_image(head):
                            report.failed[relative] = why_unread(head, name) or "neither an image nor a CSV table"
                            continue
                except FileNotFoundError:  # its writer gave it another name
                    continue
                except OSError as error:
                    report.failed[relative] = reason_of(error)
                    continue
                if file is None:
                    report.failed[relative] = "not a file but a link or a device; only files are taken"
                else:
                    found.append(file)
    return found


def _regular_file(name: str, path: Path) -> Dropped | None:
    now = path.lstat()
    if not stat.S_ISREG(now.st_mode):
        return None
    return Dropped(name, path, now.st_size, now.st_ino, now.st_mtime_ns, now.st_ctime_ns)


def _judge(file: Dropped, *, settle: float, largest: int, max_pixels: int, min_side: int) -> Verdict:
    still = _seconds_still(file)
    if still < 0:  # a clock was ahead: without a new time the file would wait until that day
        with suppress(OSError):
            os.utime(file.path, ns=(file.mtime_ns, file.mtime_ns))
    if still < settle:
        return Verdict(f"changed {max(still, 0):.0f} s ago; taken when nothing changes for {settle:g} s", True)
    try:
        if _is_open_for_writing(file.path):
            return Verdict("a process has it open for writing", True)
        require_size(file.size, largest)
        if file.size == 0:
            raise ImageRefused("the file is empty")
        if file.path.suffix.lower() != TABLE_SUFFIX:
            content = read_file(file.path, most=largest, links=False)
            header = read_header(content)
            check_header(header, max_pixels=max_pixels, min_side=min_side)
            check_decodes(content, header)
    except ImageRefused as refusal:
        if still < GIVEN_UP_AFTER_SECONDS:
            return Verdict(f"{refusal}; still being written, or damaged", True)
        return Verdict(f"{refusal}, and nothing has changed for a day")
    except NotTaken as reason:
        return Verdict(str(reason))
    except OSError as error:
        return Verdict(reason_of(error))
    return Verdict()


def _seconds_still(file: Dropped) -> float:
    """Return the seconds for which nothing has changed about a file.

    A copy may be given an old mtime, but never an old ctime. An mtime in the future comes from a wrong clock.
    """
    now = time.time_ns()
    return (now - max(file.ctime_ns, min(file.mtime_ns, now))) / 1e9


def _is_open_for_writing(path: Path) -> bool:
    """Return whether a process of this machine has a file open for writing; False where the system cannot say.

    The kernel gives no read lease on such a file (fcntl(2)).
    """
    with open_file(path, links=False) as file:
        try:
            # The signal by which the kernel takes a lease back; the usual one would end this process.
            fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno == errno.EAGAIN
    return False


def _take(file: Dropped, intake: Intake, report: SourceReport) -> None:
    place = intake.place(file.name, is_image=file.path.suffix.lower() != TABLE_SUFFIX)
    if not _is_unchanged(file):
        report.waiting[file.name] = "it changed while it was being examined"
        return
    try:
        _move(file, place, intake)
    except NameTaken as taken:
        _drop_duplicate(file, taken)
        report.already_there += 1
    except FileChanged:
        report.waiting[file.name] = "it changed while it was being copied"
    else:
        report.arrived += 1


class FileChanged(Exception):
    """A file is not the one that was examined."""


def _is_unchanged(file: Dropped) -> bool:
    return _regular_file(file.name, file.path) == file


def _move(file: Dropped, place: Path, intake: Intake) -> None:
    try:
        intake.put(file.path, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with intake.writing(place) as copy:
            _copy(file.path, copy)
            if not _is_unchanged(file):
                raise FileChanged from None
            intake.put(copy, place)
        file.path.unlink()


def _copy(source: Path, copy: Path) -> None:
    """Copy a file, flush the copy and compare it with the source, which is removed afterwards."""
    shutil.copy2(source, copy)
    atomic.flush(copy)
    if not have_same_content(source, copy):
        raise OSError(errno.EIO, "The copy differs from what was read", str(copy))


def _drop_duplicate(file: Dropped, taken: NameTaken) -> None:
    """Remove a dropped file whose content is in the data set already. Raises NameTaken when the content differs."""
    holder = taken.holder
    if os.path.realpath(holder) == os.path.realpath(file.path):
        raise NotTaken(f"{holder} links to it")
    if not have_same_content(holder, file.path):
        raise taken
    atomic.flush(holder)
    atomic.flush(holder.parent)
    file.path.unlink()
