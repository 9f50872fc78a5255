"""Images out of a multipart request as it arrives: in memory, counted while they come, given up at the first excess."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from skinlesion.prediction.serving.problem import Problem, busy, malformed, too_large
from skinlesion.prediction.serving.settings import MIB, ServerSettings

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

FIELD: Final = "images"
"""Of the form; each of its parts is one image file."""

LATE_SECONDS: Final = 0.2
"""A timer that is later than this says that the server was held up, not the client."""

LONGEST_NAME: Final = 200
"""Characters of a file's name that are given back."""


@dataclass(frozen=True)
class Upload:
    """One image file as it was sent; `name` is the client's and is only ever given back to it."""

    name: str
    content: bytes


class Buffered:
    """Counts the bytes of uploads in memory over all requests, and refuses more than there is room for."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Give what a request calls with the bytes it takes up; all are given back when the block ends."""
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.bytes + count > self.most:
                raise busy("The server holds as many uploads as it has room for. Send the request again in a second.")
            self.bytes += count
            taken += count

        try:
            yield take
        finally:
            self.bytes -= taken


async def read_uploads(
    headers: Mapping[str, str], receive: Receive, settings: ServerSettings, take: Callable[[int], None]
) -> list[Upload]:
    """Give the request's images. Raises Problem: too much, too slow, malformed, or none.

    A request whose header says more than is taken is refused before its body is read.
    """
    boundary = _boundary(headers)
    _refuse_declared(headers, settings)
    form = _Form(settings)
    parser = MultipartParser(boundary, form.callbacks())  # its own limits bound a part's headers
    received = 0
    async for chunk in _arriving(receive, settings):
        received += len(chunk)
        if received > settings.max_upload_bytes:
            raise _too_large(settings)
        take(len(chunk))
        try:
            parser.write(chunk)
        except FormParserError as error:
            raise malformed(f"The body is no multipart/form-data ({error}).") from None
    if not form.ended:
        raise malformed("The body ends before the form does: the closing boundary is missing.")
    if not form.uploads:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no-image",
            f"The form has no image: expected files in the field `{FIELD}`.",
        )
    return form.uploads


def _boundary(headers: Mapping[str, str]) -> bytes:
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise _unsupported(
            f"Expected multipart/form-data with image files in the field `{FIELD}`, found "
            f"{headers.get('content-type', 'no content type')[:100]!r}."
        )
    boundary = options.get(b"boundary", b"")
    # RFC 2046, 5.1.1: 1 to 70 characters
    if not 1 <= len(boundary) <= 70:
        raise malformed("The content type names no boundary of 1 to 70 characters.")
    return boundary


def _refuse_declared(headers: Mapping[str, str], settings: ServerSettings) -> None:
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("Compressed bodies are not taken: send the images as they are.")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > settings.max_upload_bytes:
        raise _too_large(settings)


def _unsupported(detail: str) -> Problem:
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)


def _too_large(settings: ServerSettings) -> Problem:
    return too_large(
        f"The upload is larger than the {settings.max_upload_bytes / MIB:.0f} MiB that a request may bring. "
        "Send fewer images at once."
    )


async def _arriving(receive: Receive, settings: ServerSettings) -> AsyncIterator[bytes]:
    """Give the body's chunks. An upload that takes too long, or stalls, ends with a Problem (408)."""
    loop = asyncio.get_running_loop()
    end = loop.time() + settings.upload_seconds
    window_end, in_window = loop.time() + settings.stall_seconds, 0
    while True:
        try:
            async with asyncio.timeout_at(min(window_end, end)):
                message = await receive()
        except TimeoutError:
            # Cancelled while it waited, `receive` has lost nothing.
            now = loop.time()
            was_held_up = now - window_end > LATE_SECONDS
            if now >= end or (in_window < settings.stall_bytes and not was_held_up):
                raise Problem(
                    HTTPStatus.REQUEST_TIMEOUT,
                    "upload-too-slow",
                    f"The upload brought {in_window} bytes in {settings.stall_seconds:g} seconds, or took longer than "
                    f"{settings.upload_seconds:g}. Send it again; the server's `stall_seconds` suits slower links.",
                ) from None
            window_end, in_window = now + settings.stall_seconds, 0
            continue
        if message["type"] == "http.disconnect":
            raise malformed("The client went away.")
        chunk = message.get("body", b"")
        in_window += len(chunk)
        if chunk:
            yield chunk
        if not message.get("more_body", False):
            return


@dataclass
class _Form:
    """What the parser has found so far."""

    settings: ServerSettings
    uploads: list[Upload] = field(default_factory=list)
    ended: bool = False
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _file: str = ""
    _content: bytearray = field(default_factory=bytearray)

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header_ends,
            "on_headers_finished": self._content_begins,
            "on_part_data": self._content_comes,
            "on_part_end": self._part_ends,
            "on_end": self._ends,
        }

    def _part_begins(self) -> None:
        if len(self.uploads) >= self.settings.max_images:
            raise too_large(f"More than {self.settings.max_images} parts; send the images in several requests.")
        self._headers = {}
        self._content = bytearray()

    def _header_ends(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _content_begins(self) -> None:
        disposition, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="replace")
        if disposition != b"form-data" or name != FIELD or b"filename" not in options:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "unexpected-part",
                f"A part of the form is named {name[:50]!r} or is no file; expected image files in the field `{FIELD}`.",
            )
        text = options[b"filename"].decode(errors="replace")
        self._file = "".join(character if character.isprintable() else "�" for character in text[:LONGEST_NAME])

    def _content_comes(self, data: bytes, start: int, end: int) -> None:
        if len(self._content) + end - start > self.settings.max_image_bytes:
            raise too_large(
                f"The image {self._file!r} is larger than the {self.settings.max_image_bytes / MIB:.0f} MiB that one may have."
            )
        self._content += data[start:end]

    def _part_ends(self) -> None:
        self.uploads.append(Upload(self._file, bytes(self._content)))

    def _ends(self) -> None:
        self.ended = True
