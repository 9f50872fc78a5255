"""The public REST API of the ISIC Archive (https://api.isic-archive.com/api/docs/): its searches, images and licences."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import subprocess
from pathlib import PurePosixPath
from typing import Annotated, Final, NamedTuple, Self
from urllib.parse import urlparse

import httpx
from pydantic import AfterValidator, BaseModel, JsonValue
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from skinlesion.data.sources.http_download import Unavailable, new_client, require_content
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.foundation.checksum import md5_in_headers
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress

log = logging.getLogger(__name__)

FIRST_WAIT: Final = 0.5
"""Seconds before another attempt; doubled for each that follows."""

FIRST_COLUMNS: Final = ("isic_id", "attribution", "copyright_license")
"""Columns that each row has; those of the metadata follow."""

_OFFICIAL: Final = "https://api.isic-archive.com"
_NOT_FOUND: Final = (httpx.codes.NOT_FOUND,)
_WRONG_QUERY: Final = (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)


class NotWhole(Exception):
    """The bytes that arrived are not the image; the message says why."""


def _plain(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", name):
        raise ValueError(f"expected a plain name of an image or a licence, the archive gives {name!r}")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""A name from the archive that becomes part of the name of a file."""


class StoredFile(BaseModel):
    """Where an image lies, and its bytes. The address is signed and expires."""

    url: str
    size: int


class Files(BaseModel):
    """The files of an image; the archive has a thumbnail too."""

    full: StoredFile


class Metadata(BaseModel):
    """What is known about an image, in the fields of isic-metadata."""

    acquisition: dict[str, JsonValue]
    clinical: dict[str, JsonValue]


class ArchivedImage(BaseModel):
    """An image as the archive lists it."""

    isic_id: PlainName
    copyright_license: PlainName
    attribution: str
    files: Files
    metadata: Metadata

    @property
    def file_name(self) -> str:
        """The name that the image has in images/."""
        suffix = PurePosixPath(urlparse(self.files.full.url).path).suffix
        return f"{self.isic_id}{suffix if len(suffix) > 1 else '.jpg'}"

    def row(self) -> dict[str, JsonValue]:
        """Return the row of the image in the columns of isic-cli's metadata.csv."""
        return (
            {name: getattr(self, name) for name in FIRST_COLUMNS} | self.metadata.acquisition | self.metadata.clinical
        )


class Page(BaseModel):
    """An answer to a search. Only the first page has the count; the last has no next."""

    count: int | None = None
    next: str | None
    results: list[ArchivedImage]


class Listed(NamedTuple):
    """An image of a search, and the address of the page that gives a fresh link to it."""

    file_name: str
    size: int
    row: dict[str, JsonValue]
    page: str


class Archive:
    """The archive that the settings name. A request that fails on the network is made again."""

    def __init__(self, config: SourceSettings) -> None:
        self._config = config
        self._where = f"The ISIC Archive at {config.isic_address}"
        self._api = f"{config.isic_address.rstrip('/')}/api/v2"
        self._client = new_client(config.network_timeout)
        self._login = _login() if config.isic_address.rstrip("/") == _OFFICIAL else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def search(self) -> list[Listed]:
        """Return the images of the query and collections.

        Raises DataError when the archive does not know what is asked for or has no such image; OSError when it does not
        answer, or lists fewer images than it counts.
        """
        for number in filter(None, self._config.isic_collections.split(",")):
            if self._answer(f"{self._api}/collections/{number}/", also=_NOT_FOUND).status_code in _NOT_FOUND:
                raise DataError(
                    f"{self._where}: Collection {number} does not exist, or you have no access to it. Correct the setting "
                    "`isic_collections`, or log in with `isic user login` of isic-cli."
                )
        asked = httpx.QueryParams(query=self._config.isic_query, collections=self._config.isic_collections)
        address: str | None = f"{self._api}/images/search/?{asked}"
        found: list[Listed] = []
        page = self.page(str(address))
        counted = page.count or 0
        with progress("isic list", counted) as advance:
            while True:
                found += [Listed(i.file_name, i.files.full.size, i.row(), str(address)) for i in page.results]
                advance(len(page.results))
                address = page.next
                if not address:
                    break
                page = self.page(address)
        if not found:
            raise DataError(
                f"{self._where} has no image for the query {self._config.isic_query!r} with the collections "
                f"{self._config.isic_collections!r}. Correct the settings `isic_query` and `isic_collections`."
            )
        if counted != len(found):
            raise self._unexpected(f"it counts {counted} images but lists {len(found)}; it may be changing")
        return found

    def page(self, address: str) -> Page:
        """Return one page of a search. Raises DataError for a query that the archive does not take, OSError as `search`."""
        answer = self._answer(address, also=_WRONG_QUERY)
        if answer.status_code in _WRONG_QUERY:
            raise DataError(
                f"{self._where} does not take the query {self._config.isic_query!r} with the collections "
                f"{self._config.isic_collections!r}: {answer.text[:300]}. Expected a query such as "
                'diagnosis_1:"Malignant" AND image_type:dermoscopic (`diagnosis:` is no longer supported). Correct the '
                "settings `isic_query` and `isic_collections`."
            )
        try:
            return Page.model_validate_json(answer.content)
        except ValueError as error:
            raise self._unexpected(str(error)) from None

    def licence(self, name: str) -> bytes:
        """Return the text of a licence. Raises OSError when the archive does not answer."""
        return self._answer(f"{self._api}/zip-download/license-file/{name}/").content

    def content(self, image: ArchivedImage) -> bytes:
        """Return the bytes of an image, of the listed size and with the MD5 that their server sends, if it sends one.

        Raises NotWhole, DataError for an address that the server refuses, OSError or httpx.HTTPError of the network.
        """
        return self._retrying()(self._download, image.files.full)

    def _download(self, file: StoredFile) -> bytes:
        # Without the login: the signed address stands for it.
        with self._client.stream("GET", file.url) as answer:
            require_content(answer, file.url.partition("?")[0])
            content = bytearray()
            for block in answer.iter_raw():
                content += block
                if len(content) > file.size:
                    break
        if len(content) != file.size:
            raise NotWhole(f"expected {file.size} bytes, as the archive lists, found {len(content)}")
        found, expected = hashlib.md5(content, usedforsecurity=False).hexdigest(), md5_in_headers(answer.headers)
        if expected and found != expected:
            raise NotWhole(f"expected MD5 {expected}, as its server says, found {found}")
        return bytes(content)

    def _answer(self, address: str, also: tuple[int, ...] = ()) -> httpx.Response:
        """Return the answer to a request; `also` are the statuses of errors that the caller handles."""
        try:
            return self._retrying()(self._get, address, also)
        except (httpx.HTTPError, httpx.InvalidURL, Unavailable, DataError) as error:
            raise self._unexpected(f"{type(error).__name__}: {error}") from error

    def _get(self, address: str, also: tuple[int, ...]) -> httpx.Response:
        answer = self._client.get(address, headers=self._login)
        if answer.status_code not in also:
            require_content(answer, address)
        return answer

    def _retrying(self) -> Retrying:
        return Retrying(
            stop=stop_after_attempt(self._config.network_attempts),
            wait=wait_exponential(multiplier=FIRST_WAIT, max=30),
            retry=retry_if_exception_type((httpx.HTTPError, Unavailable)),
            reraise=True,
        )

    def _unexpected(self, reason: str) -> OSError:
        return OSError(errno.EIO, f"The ISIC Archive does not answer as expected ({reason})", self._config.isic_address)


def _login() -> dict[str, str]:
    """Return the header of the login that `isic user login` left; none without isic-cli, or without a login."""
    try:
        command = ["isic", "--no-version-check", "user", "print-token"]
        token = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=60, check=True).stdout
        return {"Authorization": f"Bearer {json.loads(token)['access_token']}"}
    except FileNotFoundError:
        return {}
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        log.info("isic archive: isic-cli has no login, so only public images are seen")
        return {}
