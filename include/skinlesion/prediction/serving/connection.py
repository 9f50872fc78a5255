"""A connection that nobody holds by saying nothing: deadlines for a request's head and for what comes after an answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from skinlesion.prediction.serving.problem import MEDIA_TYPE, busy, malformed

HEAD_SECONDS: Final = 1.8
"""For a request's line and headers, from its first byte."""

IDLE_SECONDS: Final = 30.0
"""For a connection that has not sent anything yet: browsers open some in advance."""

REST_SECONDS: Final = 5.0
"""After an answer that did not wait for the whole upload. The rest is read and thrown away meanwhile: closing at once
would reset the connection, and the client might never see the answer."""


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with deadlines; it has one for idle connections between requests only."""

    most_connections: int = 512
    _deadline: asyncio.TimerHandle | None = None
    _head_began = False

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or turn it away when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            self._refuse(
                503, busy("The server has as many connections as it takes. Come again in a second.").document, 1
            )
            return
        self._arm(IDLE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request's first byte has come."""
        super().on_message_begin()
        self._head_began = True
        self._arm(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """From here on the application bounds the time."""
        self._head_began = False
        self._disarm()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Give the rest of an upload that was answered early some time."""
        super().on_response_complete()
        if self.cycle is not None and self.cycle.more_body and not self.transport.is_closing():
            self._arm(REST_SECONDS)

    def on_message_complete(self) -> None:
        """The upload has ended after all."""
        if self.cycle is not None and self.cycle.response_complete:
            self.cycle.more_body = False
            self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Say in the way of all other errors that this is no HTTP."""
        self._refuse(400, malformed("This is no valid HTTP/1.1 request.").document)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._head_began:
            document = malformed(f"The request's headers did not come within {HEAD_SECONDS:g} seconds.").document
            self._refuse(408, {**document, "status": 408})
        else:
            self.transport.close()

    def _refuse(self, status: int, document: dict[str, Any], retry_after: int | None = None) -> None:
        body = json.dumps(document).encode()
        reason = {400: "Bad Request", 408: "Request Timeout", 503: "Service Unavailable"}[status]
        head = [
            f"HTTP/1.1 {status} {reason}",
            f"content-type: {MEDIA_TYPE}",
            f"content-length: {len(body)}",
            "connection: close",
            *([f"retry-after: {retry_after}"] if retry_after else []),
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.transport.close()
