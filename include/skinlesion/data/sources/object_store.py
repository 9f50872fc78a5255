"""A prefix of an object store (s3://, gs:// or any other that fsspec opens): new and changed objects are copied."""

from __future__ import annotations

import base64
import itertools
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from fsspec import AbstractFileSystem
from fsspec.callbacks import Callback
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from skinlesion.data.images.formats import SUFFIXES
from skinlesion.data.images.listing import printable
from skinlesion.data.sources.intake import TABLE_SUFFIX, Intake, NameTaken, NotTaken, require_size
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.data.sources.source_report import SourceReport
from skinlesion.foundation import layout
from skinlesion.foundation.checksum import hash_of, sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import is_disk_full, open_file
from skinlesion.foundation.shard import bucket_of
from skinlesion.foundation.tables import BucketTable
from skinlesion.foundation.workers import spread

log = logging.getLogger(__name__)

TAKEN_COLUMNS: Final = {"url": "str", "version": "str", "file": "str", "size": "int64", "sha256": "str"}
"""The objects that were copied: URL and version, and the file, relative to the data set, that holds the copy."""

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
"""Seconds before another attempt."""

_NAMES_LOGGED: Final = 10
_ROWS_BETWEEN_WRITES: Final = 512  # bounds what a killed run has to copy and compare again


class StoredObject(NamedTuple):
    """An object: its URL, its name below the prefix, and what shows that it changed. `md5` is empty when not known."""

    url: str
    name: str
    version: str
    size: int
    md5: str


class Copied(NamedTuple):
    """A row of the table of copies, in the order of TAKEN_COLUMNS."""

    url: str
    version: str
    file: str
    size: int
    sha256: str


class Outcome(NamedTuple):
    """What became of an object: its row in the table of copies, or the reason why there is none."""

    name: str
    copied: Copied | None
    is_new: bool = False
    reason: str = ""


def take_stored(config: SourceSettings, intake: Intake) -> SourceReport:
    """Copy every image and table below the prefix that is new or changed into the data set.

    The size of a copy, and its MD5 where the store gives one, are compared before the file gets its name. An object that
    changed replaces the file that it was copied to, unless somebody else changed that file. What fails is tried again, then
    counted, and the others go on. Raises DataError when the prefix does not exist or may not be read, OSError when the
    store cannot be reached.
    """
    report = SourceReport()
    store, root = _open(config)
    table = BucketTable(layout.tables(config.dataset, "object_store"), TAKEN_COLUMNS)
    known = table.read()
    objects = _listed(store, root, config)
    todo = _new_or_changed(objects, known, config, report)
    todo.sort(key=lambda item: bucket_of(item.url))
    taken = {row.url: row for row in map(Copied._make, known[[*TAKEN_COLUMNS]].itertuples(index=False, name=None))}
    take = partial(_take, store=store, intake=intake, config=config, taken=taken)
    rows = known
    with progress("object store", len(todo), unit="objects") as advance:
        outcomes = spread(take, todo, workers=config.connections, kind="threads")
        copied = _counted(outcomes, report, advance)
        while some := list(itertools.islice(copied, _ROWS_BETWEEN_WRITES)):
            batch = pd.DataFrame(some, columns=list(TAKEN_COLUMNS)).astype(TAKEN_COLUMNS)
            rows = pd.concat([rows[~rows["url"].isin(batch["url"])], batch], ignore_index=True)
            table.write_each(rows, rows["url"].map(bucket_of), set(batch["url"].map(bucket_of)), "url")
    return report


def _open(config: SourceSettings) -> tuple[AbstractFileSystem, str]:
    protocol = config.object_store.partition("://")[0]
    options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
    if protocol in ("s3", "s3a"):
        options |= {
            "anon": not _has_credentials(),
            "endpoint_url": config.object_store_endpoint or None,
            "config_kwargs": {
                "connect_timeout": min(config.network_timeout, 10),
                "read_timeout": config.network_timeout,
                "retries": {"max_attempts": 1},
                "max_pool_connections": config.connections,
            },
        }
    elif protocol in ("gs", "gcs"):
        from gcsfs.core import GCSFileSystem

        options["timeout"] = config.network_timeout
        if config.object_store_endpoint:
            options["endpoint_url"] = config.object_store_endpoint
            if "GOOGLE_APPLICATION_CREDENTIALS" not in os.environ:
                # Google's machines, which gcsfs would ask for a login first, know nothing of this server.
                options["token"] = "anon"
        # Not gcsfs's newest kind of store, which first asks another service, over gRPC, what kind of bucket it is.
        store = GCSFileSystem(**options)
        return store, str(store._strip_protocol(config.object_store)).rstrip("/")
    try:
        store, root = url_to_fs(config.object_store, **options)
    except (ImportError, ValueError) as error:
        raise DataError(f"Setting `object_store`: {config.object_store} cannot be opened ({error}).") from None
    # The store's own attempts would multiply with ours.
    if hasattr(store, "retries"):
        store.retries = 1
    return store, root.rstrip("/")


def _has_credentials() -> bool:
    """Return whether the environment, Amazon's files or the machine's role give credentials; a public bucket needs none."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    try:
        return botocore.session.Session().get_credentials() is not None
    except BotoCoreError as error:
        raise DataError(f"The credentials for the object store cannot be read: {error}") from None


def _listed(store: AbstractFileSystem, root: str, config: SourceSettings) -> list[StoredObject]:
    """Return the images and tables below the prefix, sorted by URL; of what else lies there the first names are logged."""
    url = config.object_store
    try:
        found = _attempts(config.network_attempts)(store.find, root, detail=True)
        if not found and not store.exists(root):
            raise FileNotFoundError(root)
    except FileNotFoundError:
        raise DataError(
            f"{url} does not exist or holds nothing: expected a prefix with images. Check the setting `object_store`."
        ) from None
    except PermissionError as error:
        raise DataError(
            f"{url} may not be read ({_described(error)}). Give credentials in the environment that may list it and read "
            "from it, or check the setting `object_store`."
        ) from None
    except Exception as error:  # each store's library has its own kinds for a server that does not answer
        raise OSError(f"{url} cannot be listed: {_described(error)}") from error
    objects: list[StoredObject] = []
    others: list[str] = []
    for path, info in found.items():
        name = path[len(root) :].lstrip("/")
        suffix = Path(name).suffix.lower()
        if info.get("type") != "file" or Path(name).name.startswith("."):
            continue
        if suffix in SUFFIXES or suffix == TABLE_SUFFIX:
            objects.append(
                StoredObject(store.unstrip_protocol(path), name, _version(info), int(info.get("size") or 0), _md5(info))
            )
        else:
            others.append(name)
    if others:
        names = printable(", ".join(others[:_NAMES_LOGGED]))
        log.warning("%d objects have neither the name of an image nor that of a CSV table: %s", len(others), names)
    objects.sort()
    return objects


def _version(info: dict[str, Any]) -> str:
    """Return what changes with the content of an object: its ETag, or its time and size."""
    etag = info.get("ETag") or info.get("etag")
    if etag:
        return str(etag).strip('"')
    changed = next((info[name] for name in ("LastModified", "mtime", "updated", "created") if info.get(name)), "")
    return f"{changed}/{info.get('size')}"


def _md5(info: dict[str, Any]) -> str:
    """Return the MD5 that a store gives, in hex: Google's md5Hash, or Amazon's ETag of an object uploaded in one part."""
    if info.get("md5Hash"):
        return base64.b64decode(info["md5Hash"]).hex()
    etag = str(info.get("ETag", "")).strip('"')
    return etag if re.fullmatch(r"[0-9a-f]{32}", etag) else ""


def _new_or_changed(
    objects: list[StoredObject], known: pd.DataFrame, config: SourceSettings, report: SourceReport
) -> list[StoredObject]:
    if config.force:
        known = known.iloc[:0]
    now = pd.DataFrame(objects, columns=list(StoredObject._fields)).astype({"url": "str", "version": "str"})
    merged = now.merge(known, on=["url", "version"], how="left", suffixes=("", "_taken"))
    is_there = np.array(
        [
            _has_size(config.dataset, file, size)
            for file, size in zip(merged["file"], merged["size_taken"], strict=True)
        ],
        dtype=bool,
    )
    report.already_there += int(is_there.sum())
    return [objects[position] for position in np.flatnonzero(~is_there)]


def _has_size(dataset: Path, file: Any, size: float) -> bool:
    if not isinstance(file, str):
        return False
    try:
        return (dataset / file).stat().st_size == size
    except FileNotFoundError:
        return False


def _take(
    item: StoredObject,
    *,
    store: AbstractFileSystem,
    intake: Intake,
    config: SourceSettings,
    taken: Mapping[str, Copied],
) -> Outcome:
    retrying = _attempts(config.network_attempts)
    try:
        require_size(item.size, config.largest_file)
        place = intake.place(item.name)
        with intake.writing(place) as partial:
            retrying(_copy, store, item, partial)
            digest = sha256_of(partial)
            before = taken.get(item.url)
            own = None if before is None else (config.dataset / before.file, before.sha256)
            is_new = _place(partial, place, digest, intake, own)
            # What has the name already may lie in another folder.
            file = str((intake.holder(place) or place).relative_to(config.dataset))
            return Outcome(item.name, Copied(item.url, item.version, file, item.size, digest), is_new)
    except NotTaken as reason:
        return Outcome(item.name, None, reason=str(reason))
    except Exception as error:  # as in `_listed`
        if is_disk_full(error):
            raise
        made = retrying.statistics.get("attempt_number", 1)
        return Outcome(item.name, None, reason=f"{_described(error)} (after {made} attempt{'s' * (made > 1)})")


def _copy(store: AbstractFileSystem, item: StoredObject, partial: Path) -> None:
    if isinstance(store, LocalFileSystem):  # a folder that is called a store: anything may lie in it
        with open_file(store._strip_protocol(item.url), most=item.size) as source, partial.open("wb") as copy:
            shutil.copyfileobj(source, copy)
    else:
        store.get_file(item.url, str(partial), callback=_AtMost(item.size))
    size = partial.stat().st_size
    if size != item.size:
        raise OSError(f"expected {item.size} bytes, as listed, found {size}")
    if item.md5 and (found := hash_of(partial, "md5")) != item.md5 and _is_md5(store, item):
        raise OSError(f"expected MD5 {item.md5}, found {found}")


class _AtMost(Callback):  # type: ignore[misc]  # fsspec has no types
    """Ends a download that brings more bytes than the store listed, before it fills the disk."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def call(self, hook_name: str | None = None, **kwargs: Any) -> None:
        """Look at what has arrived; the store calls this for each piece."""
        if self.value > self._most:
            raise OSError(f"expected {self._most} bytes, as listed, found more")


def _is_md5(store: AbstractFileSystem, item: StoredObject) -> bool:
    """Return whether an ETag of 32 hex digits is an MD5.

    It is none for an object that Amazon encrypts with another key than its own (S3's API reference, "Object").
    """
    if not hasattr(store, "call_s3"):
        return True
    bucket, key, _ = store.split_path(item.url)
    head = store.call_s3("head_object", Bucket=bucket, Key=key)
    return head.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in head


def _place(partial: Path, place: Path, digest: str, intake: Intake, own: tuple[Path, str] | None) -> bool:
    """Put a copied object in its place. Returns whether its content is new there. Raises NameTaken.

    own: the file that an earlier version of the object was copied to, and its SHA-256: that file may be replaced.
    """
    try:
        intake.put(partial, place)
        return True
    except NameTaken as name_taken:
        held = sha256_of(name_taken.holder)
        if held == digest:
            return False
        if own != (name_taken.holder, held):
            raise
        intake.replace(partial, name_taken.holder)
        return True


def _attempts(count: int) -> Retrying:
    """Return what calls a function until it succeeds, at most `count` times, and at once gives up what a store refuses."""
    return Retrying(
        stop=stop_after_attempt(count),
        wait=wait_exponential(multiplier=FIRST_WAIT, max=LONGEST_WAIT),
        retry=retry_if_exception(
            lambda error: not isinstance(error, FileNotFoundError | PermissionError) and not is_disk_full(error)
        ),
        reraise=True,
    )


def _counted(outcomes: Iterator[Outcome], report: SourceReport, advance: Callable[[int], None]) -> Iterator[Copied]:
    for outcome in outcomes:
        advance(1)
        if outcome.copied is None:
            report.failed[outcome.name] = outcome.reason
            continue
        if outcome.is_new:
            report.arrived += 1
        else:
            report.already_there += 1
        yield outcome.copied


def _described(error: BaseException) -> str:
    return str(error) or type(error).__name__
