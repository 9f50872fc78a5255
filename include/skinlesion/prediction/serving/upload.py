"""The images of a multipart request, kept in memory and bounded while they arrive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from skinlesion.prediction.log.entries import is_case
from skinlesion.prediction.serving.problem import Problem, busy, malformed, too_large
from skinlesion.prediction.serving.settings import MIB, ServerSettings

FIELD: Final = "images"
"""The field of the form whose parts are the image files."""

CASE: Final = "case"
"""The field of the form that may have the caller's id of the case that all images show."""

LONGEST_NAME: Final = 200
"""Longest file name in an answer, in characters."""


@dataclass(frozen=True)
class Upload:
    """One image file as it was sent. The client chose `name`, which is used in answers to that client only."""

    name: str
    content: bytes


class Sent(NamedTuple):
    """What a form brought: its images, and the caller's id of their case, empty without one."""

    images: list[Upload]
    case: str


class Buffered:
    """A count of the bytes that the uploads of all requests occupy in memory, with an upper bound."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """Return the function that reserves bytes for one request; they are released when the block ends.

        The function raises Problem (503) when there is no room for that many bytes.
        """
        reserved = 0

        def reserve(count: int) -> None:
            nonlocal reserved
            if self.bytes + count > self.most:
                raise busy("The server holds as many uploads as it has room for. Send the request again in a second.")
            self.bytes += count
            reserved += count

        try:
            yield reserve
        finally:
            self.bytes -= reserved


async def read_uploads(request: Request, settings: ServerSettings, reserve: Callable[[int], None]) -> Sent:
    """Return the images of a request, and their case.

    A request whose headers announce more than the server accepts is refused before its body is read. Raises Problem when
    the request is too large, too slow or malformed, or has no image.
    """
    _check_headers(request, settings)

    async def body() -> AsyncGenerator[bytes, None]:
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > settings.max_upload_bytes:
                raise _upload_too_large(settings)
            reserve(len(chunk))
            yield chunk
        if not form.is_complete:  # Starlette takes a form that is cut off for a whole one
            raise malformed("The body ends before the form does: the closing boundary is missing.")

    form = _ImageForm(request.headers, body(), max_files=settings.max_images + 1, max_fields=settings.max_images)
    try:
        async with asyncio.timeout(settings.upload_seconds), aclosing(form.stream):
            parts = await form.parse()
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "upload-too-slow",
            f"The upload took longer than {settings.upload_seconds:g} seconds. Send fewer images at once, or raise the "
            "server's setting `upload_seconds`.",
        ) from None
    except MultiPartException as error:
        raise malformed(f"The body is no multipart/form-data ({error.__cause__ or error.message}).") from None
    except ClientDisconnect:
        raise malformed("The client closed the connection before its request was complete.") from None
    try:
        return await _images(parts, settings)
    finally:
        await parts.close()


class _ImageForm(MultiPartParser):
    """Starlette's parser, for image files that must never reach a disk.

    Attributes:
        is_complete: whether the closing boundary has arrived.
    """

    # Above this size Starlette moves an upload from memory to a temporary file.
    spool_max_size = sys.maxsize
    is_complete = False

    def on_part_begin(self) -> None:
        if len(self.items) >= self.max_files:
            raise too_large(
                f"The form has more than {self.max_files - 1} images and a case. Send the images in several requests."
            )
        super().on_part_begin()

    def on_end(self) -> None:
        self.is_complete = True


def _check_headers(request: Request, settings: ServerSettings) -> None:
    kind = request.headers.get("content-type", "no content type")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise _unsupported(
            f"Expected multipart/form-data with image files in the field `{FIELD}`, found {kind[:100]!r}."
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise _unsupported("Compressed bodies are not accepted: send the images as they are.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > settings.max_upload_bytes:
        raise _upload_too_large(settings)


async def _images(parts: FormData, settings: ServerSettings) -> Sent:
    uploads, case = [], ""
    for field, part in parts.multi_items():
        if field == CASE and isinstance(part, str) and not case:
            if not is_case(part):
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    "no-case",
                    f"The field `{CASE}` is no id of a case: expected 1 to 100 printable characters.",
                )
            case = part
            continue
        if field != FIELD or isinstance(part, str):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "unexpected-part",
                f"A part of the form is named {field[:50]!r} or is no file; expected image files in the field `{FIELD}`, and at most one "
                f"field `{CASE}` with text.",
            )
        name = "".join(one if one.isprintable() else "�" for one in (part.filename or "")[:LONGEST_NAME])
        if (part.size or 0) > settings.max_image_bytes:
            raise too_large(
                f"The image {name!r} is larger than the {settings.max_image_bytes / MIB:.0f} MiB that one may have."
            )
        uploads.append(Upload(name, await part.read()))
    if not uploads:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "no-image",
            f"The form has no image: expected files in the field `{FIELD}`.",
        )
    if len(uploads) > settings.max_images:
        raise too_large(f"The form has more than {settings.max_images} images. Send them in several requests.")
    return Sent(uploads, case)


def _upload_too_large(settings: ServerSettings) -> Problem:
    return too_large(
        f"The upload is larger than the {settings.max_upload_bytes / MIB:.0f} MiB that a request may bring. "
        "Send fewer images at once."
    )


def _unsupported(detail: str) -> Problem:
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
