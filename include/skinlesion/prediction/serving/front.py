"""What wraps every request: the names of the server, the token, the metrics, the security headers, and an answer to any error."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final

from pydantic import SecretStr

from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.own_names import OwnNames
from skinlesion.prediction.serving.problem import Problem

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_GUARDED: Final = ("/v1/", "/metrics")
"""Paths that need the token. The page itself shows nothing of the model; its own requests to /v1 need the token."""

_NOT_COUNTED_APART: Final = "other"

SECURITY_HEADERS: Final = [
    (b"content-security-policy",
     b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
     b"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
]  # fmt: skip
"""The page may load from and send to this server only, so no image and no figure can leave it."""


class Front:
    """An ASGI application around the actual one."""

    def __init__(
        self, app: App, metrics: Metrics, names: OwnNames, token: SecretStr | None, paths: frozenset[str]
    ) -> None:
        """paths: the paths that the metrics count one by one; all others are counted together."""
        self._names = names
        self._app = app
        self._metrics = metrics
        self._token = token.get_secret_value().encode() if token else None
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in SECURITY_HEADERS if header[0] not in own),
                ]
            await send(message)

        try:
            self._names.check(scope["method"], scope["path"], scope["headers"])
            self._check_token(scope)
            await self._app(scope, receive, send_and_note)
        except Problem as found:
            await found.response()(scope, receive, send_and_note)
        except Exception:
            # The log gets no image: a traceback names lines, not values.
            log.exception("%s %s failed", scope["method"], scope["path"])
            if not status:
                await failed().response()(scope, receive, send_and_note)
        path = scope["path"] if scope["path"] in self._paths else _NOT_COUNTED_APART
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD") else _NOT_COUNTED_APART
        self._metrics.requests.labels(path, method, str(status)).inc()
        self._metrics.seconds.labels(path).observe(time.perf_counter() - start)

    def _check_token(self, scope: Scope) -> None:
        if self._token is None or not scope["path"].startswith(_GUARDED):
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, token = given.partition(b" ")
        # The comparison takes the same time however much of the token is right.
        if kind.lower() != b"bearer" or not hmac.compare_digest(token.strip(), self._token):
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "token-needed",
                "The server needs its token: send the header `Authorization: Bearer <token>`."
                if not given
                else "This is not the server's token.",
                headers={"WWW-Authenticate": 'Bearer realm="skinlesion"'},
            )


def failed() -> Problem:
    """Return the problem document for a bug, which says that the server is at fault."""
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "The server failed at this request; its log has the reason."
    )
