"""Download one file over HTTP: what has arrived is kept when the connection breaks, and versions are never mixed."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict

from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import Checksum, hash_of, md5_in_headers
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import read_file

log = logging.getLogger(__name__)

DOWNLOADS_OF_A_WRONG_FILE: Final = 2
"""Downloads of a file whose checksum is wrong, before it counts as wrong at its source."""

_MOST_REQUESTS: Final = 10_000  # ends the download from a server that sends one byte and hangs up
_LONGEST_WAIT: Final = 60.0
_MAY_PASS: Final = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another attempt may cure
_MB: Final = 1_000_000


class Unavailable(OSError):
    """The server does not answer as it should; a later attempt may succeed. `wait` is the seconds that it asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class _Restart(Exception):
    """The bytes that are here are not of the version that the server has now."""


class Version(BaseModel):
    """What a server says about the file that it sends, by which two answers are seen to be of one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    etag: str = ""
    modified: str = ""
    size: int | None = None
    md5: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str], size: int | None) -> Version:
        """Return the version that the headers describe. A weak ETag does not identify bytes and is left out."""
        etag = headers.get("etag", "")
        modified = headers.get("last-modified", "")
        return cls(
            etag="" if etag.startswith("W/") else etag, modified=modified, size=size, md5=md5_in_headers(headers)
        )

    @property
    def validator(self) -> str:
        """The value of If-Range: the server sends the rest of this version, or another version from its start."""
        return self.etag or self.modified

    def agrees(self, other: Version) -> bool:
        """Return whether nothing in two answers shows that they are of different versions."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(not mine or not theirs or mine == theirs for mine, theirs in pairs)


class _Part:
    """The bytes that have arrived (`<path>.part`), and the version that they belong to (`<path>.part.json`)."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._record = path.with_name(f"{path.name}.part.json")
        self.version, self.is_whole = Version(), False
        try:
            self.version = Version.model_validate_json(read_file(self._record, most=_MB, links=False))
        except (OSError, ValueError):  # without a readable record the bytes cannot be used
            self.discard()
        self.is_whole = self.version.size is not None and self.size() == self.version.size

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def start(self, version: Version) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.discard()
        self.version = version
        atomic.write_text(self._record, version.model_dump_json())

    def discard(self) -> None:
        # The record first: without its bytes it would describe those of another version.
        self._record.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.version, self.is_whole = Version(), False

    def checksum(self) -> Checksum | None:
        return Checksum("md5", self.version.md5, "sent by the server") if self.version.md5 else None

    def become(self, path: Path) -> None:
        atomic.flush(self.path)
        self.path.replace(path)
        atomic.flush(path.parent)
        self._record.unlink(missing_ok=True)


def download(address: str, path: Path, *, checksum: Checksum | None, limit: int, timeout: float, attempts: int) -> None:
    """Download a file to `path` and check it; go on where an earlier call or a killed process stopped.

    The size must be what the server says. The content must have the checksum or, without one, the MD5 that S3, Google or
    a Content-MD5 header give. `limit` is the largest size in bytes. `attempts` counts requests in a row that bring
    nothing.

    Raises DataError when the address is wrong, the file too large, or its checksum wrong twice; Unavailable (an OSError)
    when the network fails; other OSErrors of this machine's disk.
    """
    part = _Part(path)
    wrong = ""
    with new_client(timeout) as client:
        for _ in range(DOWNLOADS_OF_A_WRONG_FILE):
            _complete(client, address, part, limit, attempts)
            expected = checksum or part.checksum()
            if expected is None or (found := hash_of(part.path, expected.algorithm)) == expected.digest:
                part.become(path)
                return
            part.discard()
            wrong = f"Expected {expected.algorithm} {expected.digest} ({expected.origin}), found {found}."
            log.warning("%s: wrong checksum. %s", address, wrong)
    raise DataError(
        f"{address}: wrong checksum after {DOWNLOADS_OF_A_WRONG_FILE} downloads. {wrong} Nothing of it is used; the file at "
        "this address is another one, or something on the way changes it."
    )


def new_client(timeout: float) -> httpx.Client:
    """Return a client that follows redirects, asks for uncompressed bytes, and gives up a silent server."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else it logs each address, of which some are signed
    return httpx.Client(
        follow_redirects=True,
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        headers={"Accept-Encoding": "identity"},
    )


def pause(seconds: float) -> None:
    """Wait before another attempt, at most a minute."""
    time.sleep(min(seconds, _LONGEST_WAIT))


def require_content(answer: httpx.Response, address: str) -> None:
    """Raise DataError when the server refuses the request for good, Unavailable when another attempt may succeed."""
    status = f"{answer.status_code} {answer.reason_phrase}"
    if answer.status_code in _MAY_PASS:
        raise Unavailable(f"{address}: the server answers {status}", _number(answer.headers, "retry-after") or 0)
    if answer.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise DataError(
            f"{address}: the server answers {status}; expected the file. Check the address, and the setting that it is "
            "made from (`skinlesion settings`)."
        )
    if (encoding := answer.headers.get("content-encoding", "identity")) != "identity":
        raise Unavailable(f"{address}: the server sends it as {encoding}, which was not asked for")


def _complete(client: httpx.Client, address: str, part: _Part, limit: int, attempts: int) -> None:
    """Make requests until the whole file is here, or `attempts` of them in a row bring nothing."""
    furthest, fruitless, problem = part.size(), 0, ""
    for _ in range(_MOST_REQUESTS):
        if part.is_whole:
            return
        wait = 0.0
        try:
            _receive(client, address, part, limit)
            continue
        except httpx.InvalidURL as error:
            raise DataError(f"{address} is no address ({error}): expected one such as https://host/path.") from None
        except _Restart as error:
            part.discard()
            problem = str(error)
        except Unavailable as error:
            problem, wait = str(error), error.wait
        except httpx.HTTPError as error:
            problem = str(error) or type(error).__name__
        log.info("%s: %s after %d bytes", address, problem, part.size())
        # Compared with the furthest point ever reached: a server that always starts anew might never come to the end.
        fruitless = 0 if part.size() > furthest else fruitless + 1
        furthest = max(furthest, part.size())
        if fruitless >= attempts:
            break
        if fruitless:
            pause(max(wait, 0.5 * 2**fruitless))
    raise Unavailable(
        f"{address}: {furthest} of {part.version.size or 'unknown'} bytes arrived, then {fruitless} attempts in a row "
        f"brought no more ({problem})"
    )


def _receive(client: httpx.Client, address: str, part: _Part, limit: int) -> None:
    """Make one request and append what it brings."""
    here = part.size() if part.version.validator else 0
    headers = {"Range": f"bytes={here}-", "If-Range": part.version.validator} if here else {}
    with client.stream("GET", address, headers=headers) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _Restart("the server has fewer bytes than it said")
        require_content(answer, address)
        if answer.status_code == httpx.codes.PARTIAL_CONTENT:
            found = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", answer.headers.get("content-range", ""))
            size = int(found[2]) if found and found[2] != "*" else None
            if not found or int(found[1]) != here or not part.version.agrees(Version.of(answer.headers, size)):
                raise _Restart("the file changed while it was being downloaded")
            size = part.version.size or size
        else:
            here, size = 0, _number(answer.headers, "content-length")
            part.start(Version.of(answer.headers, size))
        _require_room(address, part.path.parent, here, size, limit)
        with part.path.open("ab") as file, progress(part.path.stem, ((size or 0) - here) // _MB, unit="MB") as advance:
            for block in answer.iter_raw():
                here += len(block)
                if here > (limit if size is None else size):
                    raise _Restart(f"more than {limit if size is None else size} bytes came")
                file.write(block)
                advance(len(block) / _MB)
        part.is_whole = size is None or here == size


def _require_room(address: str, folder: Path, here: int, size: int | None, limit: int) -> None:
    if size is not None and size > limit:
        raise DataError(f"{address} has {size:,} bytes; expected at most {limit:,}. It is not downloaded.")
    needed, free = (size or 0) - here, shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{address} needs {needed:,} more bytes; {free:,} are free", str(folder))


def _number(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name, "")
    return int(value) if value.isascii() and value.isdigit() else None
