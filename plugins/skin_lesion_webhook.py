"""A notifier that posts JSON to an address, of which it shows scheme and host alone: with Slack and Teams the path is the secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

SECONDS = 10.0


class NotSent(Exception):
    """Why a notice was not sent, in words that show nothing of the address but scheme and host."""


class WebhookNotifier(BaseNotifier):
    """Posts a notice as JSON, `{"event": ..., "subject": ..., "text": ...}`: what most chat servers take as a message.

    connection: of type http. The address is schema://host:port/path, or `host` alone if that is a whole address. A password
    is sent as a bearer token. Raises NotSent.
    """

    def __init__(self, connection: Connection, notice: dict[str, str]) -> None:
        super().__init__()
        self.connection = connection
        self.notice = notice

    def notify(self, context: Context) -> None:
        """Post the notice."""
        import httpx

        from skinlesion.foundation.redaction import without_secrets

        for chatty in ("httpx", "httpcore"):  # which write each address to the log
            logging.getLogger(chatty).setLevel(logging.WARNING)
        token = self.connection.password
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        shown = without_secrets(self.address, paths=False)
        # Not `from error`: a traceback would show the address.
        try:
            answer = httpx.post(self.address, json=self.notice, headers=headers, timeout=SECONDS)
        except httpx.TransportError as error:
            reason = without_secrets(str(error), paths=False)
            raise NotSent(f"{shown} cannot be reached ({type(error).__name__}: {reason})") from None
        except Exception as error:
            raise NotSent(f"its address cannot be read ({type(error).__name__})") from None
        if not answer.is_success:
            raise NotSent(f"{shown} answers {answer.status_code} {answer.reason_phrase}")

    @property
    def address(self) -> str:
        """The address that it is posted to."""
        host = self.connection.host or ""
        if "://" in host:
            return host
        port = f":{self.connection.port}" if self.connection.port else ""
        path = self.connection.extra_dejson.get("path", "")
        return f"{self.connection.schema or 'https'}://{host}{port}{path}"
