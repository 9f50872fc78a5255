"""The errors that clients receive: problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """An error that ends a request. `detail` is a sentence for a person, which says what to do."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """kind: name of the problem for programs. headers: headers of the response. more: further members of the document."""
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document: dict[str, Any] = {
            "type": f"urn:problem:skinlesion:{kind}",
            "title": kind.replace("-", " ").capitalize(),
            "status": int(status),
            "detail": detail,
            **(more or {}),
        }

    def response(self) -> JSONResponse:
        """Return the response."""
        return JSONResponse(self.document, self.status, {"Cache-Control": "no-store", **self.headers}, MEDIA_TYPE)


def too_large(detail: str) -> Problem:
    """Return the problem (413) of a request with more than the server accepts."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload-too-large", detail)


def busy(detail: str, *, seconds: int = 1) -> Problem:
    """Return the problem (503) of a server without room, with the seconds after which to try again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail, headers={"Retry-After": str(seconds)})


def malformed(detail: str) -> Problem:
    """Return the problem (400) of a request that is not what its headers say."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed-request", detail)
