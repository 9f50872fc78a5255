"""One file over HTTP, however often the line breaks: what has arrived is kept, and never mixed with another version."""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import httpx

from skinlesion.foundation import atomic
from skinlesion.foundation.checksum import Checksum, hash_of, md5_in_headers
from skinlesion.foundation.errors import DataError

log = logging.getLogger(__name__)

DOWNLOADS_OF_A_WRONG_FILE: Final = 2
"""A file whose checksum is wrong is downloaded so often before it counts as wrong at its source."""

_MOST_REQUESTS: Final = 10_000  # an end, even for a server that gives a byte and hangs up
_LONGEST_WAIT: Final = 60.0
_MAY_PASS: Final = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that another attempt may cure


@dataclass(frozen=True)
class Version:
    """What a server says of the file that it sends: from this, two answers are seen to be of one version."""

    etag: str = ""
    modified: str = ""
    size: int | None = None
    md5: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str], size: int | None) -> Version:
        """Read an answer's headers. A weak ETag names no bytes, so it is left out."""
        etag = headers.get("etag", "")
        return cls(
            "" if etag.startswith("W/") else etag, headers.get("last-modified", ""), size, md5_in_headers(headers)
        )

    @property
    def validator(self) -> str:
        """The value of If-Range: the server sends the rest of this version, or another one from its start."""
        return self.etag or self.modified

    def agrees(self, other: Version) -> bool:
        """Tell whether nothing in two answers shows that they are of different versions."""
        pairs = ((self.etag, other.etag), (self.modified, other.modified), (self.size, other.size))
        return all(not mine or not theirs or mine == theirs for mine, theirs in pairs)


class Unavailable(OSError):
    """The server does not answer as it should; a later attempt may succeed. `wait`: seconds that it asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class _Restart(Exception):
    """The bytes that are here are not of the version that the server has now."""


Show = Callable[[int, int | None], None]
"""Called with the bytes that are here and the bytes of the whole file, as far as they are known."""


def download(
    address: str,
    path: Path,
    *,
    checksum: Checksum | None,
    limit: int,
    timeout: float,
    attempts: int,
    show: Show = lambda here, whole: None,
) -> None:
    """Bring the file at an address to `path`, checked; go on where an earlier call or a killed process stopped.

    What has arrived lies in `<path>.part`, beside it what the server said of it; `path` appears whole. The size must be
    what the server says, and the content have the checksum; without one, that which S3, Google or a Content-MD5 header
    tell. `attempts` counts requests in a row that bring nothing. `limit`: largest size in bytes.

    Raises DataError when the address is wrong, the file too large, or its checksum wrong twice; Unavailable (an OSError)
    when the network fails; other OSErrors of this machine's disk as they come.
    """
    part = _Part(path)
    found = ""
    with httpx.Client(
        follow_redirects=True,
        timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
        verify=_trusted_authorities(),
        headers={"Accept-Encoding": "identity"},
    ) as client:
        for _ in range(DOWNLOADS_OF_A_WRONG_FILE):
            _complete(client, address, part, limit=limit, attempts=attempts, show=show)
            expected = checksum or part.told_checksum()
            if expected is None:
                break
            found = hash_of(part.path, expected.algorithm)
            if found == expected.digest:
                break
            log.warning(
                "%s: %s %s, expected %s; downloading it anew", address, expected.algorithm, found, expected.digest
            )
            part.discard()
        else:
            assert expected is not None
            raise DataError(
                f"{address}: wrong checksum after {DOWNLOADS_OF_A_WRONG_FILE} downloads. Expected {expected.algorithm} "
                f"{expected.digest} ({expected.origin}), found {found}. Nothing of it is used; the file at this address "
                "is another one, or something on the way changes it."
            )
    part.become(path)


@cache
def _trusted_authorities() -> ssl.SSLContext:
    """Read the list of certificate authorities, once: that takes longer than a small file."""
    return httpx.create_ssl_context()


class _Part:
    """The bytes that have arrived, and the version of the file that they belong to."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.part")
        self._said = path.with_name(f"{path.name}.part.json")
        self.is_whole = False
        self.version = self._read()

    def _read(self) -> Version:
        try:
            version = Version(**json.loads(self._said.read_text()))
        except (OSError, ValueError, TypeError):  # none yet, or a damaged one: its bytes are worth nothing
            self.discard()
            return Version()
        self.is_whole = version.size is not None and self.size() == version.size
        return version

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def start(self, version: Version) -> None:
        """Forget the bytes of another version, and say which one follows."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.discard()
        self.version = version
        atomic.write_text(self._said, json.dumps(asdict(version)))

    def discard(self) -> None:
        # First what would lend its name to other bytes.
        self._said.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.version, self.is_whole = Version(), False

    def told_checksum(self) -> Checksum | None:
        return Checksum("md5", self.version.md5, "told by the server") if self.version.md5 else None

    def become(self, path: Path) -> None:
        atomic.flush(self.path)
        self.path.replace(path)
        atomic.flush(path.parent)
        self._said.unlink(missing_ok=True)


def _complete(client: httpx.Client, address: str, part: _Part, *, limit: int, attempts: int, show: Show) -> None:
    """Ask for what is missing until all is there."""
    furthest = part.size()
    fruitless = 0
    for _ in range(_MOST_REQUESTS):
        if part.is_whole:
            return
        wait = 0.0
        try:
            _receive(client, address, part, limit=limit, show=show)
            continue
        except _Restart as change:
            problem: Exception = change
            part.discard()
        except Unavailable as error:
            problem, wait = error, error.wait
        except httpx.InvalidURL as error:
            raise DataError(f"{address} is no address ({error}): expected one such as https://host/path.") from None
        except httpx.HTTPError as error:
            problem = error
        log.info("%s: %s after %d bytes", address, _described(problem), part.size())
        # Against the furthest point ever reached: from a server that always starts anew, the end may never come.
        fruitless = 0 if part.size() > furthest else fruitless + 1
        furthest = max(furthest, part.size())
        if fruitless >= attempts:
            break
        if fruitless:
            pause(max(wait, 0.5 * 2**fruitless))
    raise Unavailable(
        f"{address}: {furthest} of {part.version.size or 'unknown'} bytes arrived, then {fruitless} attempts in a row "
        f"brought no more ({_described(problem)})"
    )


def pause(seconds: float) -> None:
    """Wait before another attempt, at most a minute."""
    time.sleep(min(seconds, _LONGEST_WAIT))


def _receive(client: httpx.Client, address: str, part: _Part, *, limit: int, show: Show) -> None:
    """Make one request and append what it brings."""
    here = part.size() if part.version.validator else 0
    headers = {"Range": f"bytes={here}-", "If-Range": part.version.validator} if here else {}
    with client.stream("GET", address, headers=headers) as answer:
        _require_content(answer, address)
        if answer.status_code == httpx.codes.PARTIAL_CONTENT:
            start, size = _range_of(answer.headers)
            if start != here or not part.version.agrees(Version.of(answer.headers, size)):
                raise _Restart("the file changed while it was being downloaded")
            size = part.version.size or size
        else:
            here, size = 0, _length_of(answer.headers)
            part.start(Version.of(answer.headers, size))
        _require_room(address, part.path, here, size, limit)
        with part.path.open("ab") as file:
            for block in answer.iter_raw():
                here += len(block)
                if here > (limit if size is None else size):
                    raise _Restart(f"more than {limit if size is None else size} bytes came")
                file.write(block)
                show(here, size)
        part.is_whole = size is None or here == size


def _require_content(answer: httpx.Response, address: str) -> None:
    status = answer.status_code
    if status in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        encoding = answer.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise Unavailable(f"{address}: the server sends it as {encoding}, which was not asked for")
        return
    if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _Restart("the server has fewer bytes than it said")
    if status in _MAY_PASS:
        raise Unavailable(f"{address}: the server answers {status} {answer.reason_phrase}", _wait_told(answer.headers))
    raise DataError(
        f"{address}: the server answers {status} {answer.reason_phrase}; expected the file. Check the address, which is "
        "made from a setting (`skinlesion settings` lists them)."
    )


def _require_room(address: str, path: Path, here: int, size: int | None, limit: int) -> None:
    if size is None:
        return
    if size > limit:
        raise DataError(f"{address} has {size:,} bytes; expected at most {limit:,}. It is not downloaded.")
    free = shutil.disk_usage(path.parent).free
    if size - here > free:
        raise OSError(errno.ENOSPC, f"{address} needs {size - here:,} more bytes; {free:,} are free", str(path.parent))


def _length_of(headers: Mapping[str, str]) -> int | None:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() else None


def _range_of(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """Give the first byte of a partial answer and the size of the whole file."""
    found = re.fullmatch(r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", headers.get("content-range", ""))
    if not found:
        raise _Restart("the server does not say which bytes it sends")
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _wait_told(headers: Mapping[str, str]) -> float:
    seconds = headers.get("retry-after", "")
    return float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0


def _described(problem: Exception) -> str:
    return str(problem) or type(problem).__name__
