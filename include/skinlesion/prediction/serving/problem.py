"""Errors as clients get them: problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

MEDIA_TYPE: Final = "application/problem+json"


class Problem(Exception):
    """What ends a request other than with its answer; `detail` is a sentence for a person and says what to do."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """kind: names the problem for programs. headers: of the response. more: further members of the document."""
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

    def body(self) -> bytes:
        """Give the response's body."""
        return json.dumps(self.document).encode()


def too_large(detail: str) -> Problem:
    """More than the server takes."""
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "upload-too-large", detail)


def busy(detail: str, *, seconds: int = 1) -> Problem:
    """No room now; the client is told when to come again."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "busy", detail, headers={"Retry-After": str(seconds)})


def malformed(detail: str) -> Problem:
    """The request is not what its headers say."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed-request", detail)
