"""A notifier that posts JSON to an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseNotifier

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

SECONDS = 10.0


class WebhookNotifier(BaseNotifier):
    """Posts a notice as JSON, `{"event": ..., "subject": ..., "text": ...}`: what most chat servers take as a message.

    connection: of type http. The address is schema://host:port/path, or `host` alone if that is a whole address. A password
    is sent as a bearer token. Raises httpx.HTTPError.
    """

    def __init__(self, connection: Connection, notice: dict[str, str]) -> None:
        super().__init__()
        self.connection = connection
        self.notice = notice

    def notify(self, context: Context) -> None:
        """Post the notice."""
        import httpx

        token = self.connection.password
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        httpx.post(self.address, json=self.notice, headers=headers, timeout=SECONDS).raise_for_status()

    @property
    def address(self) -> str:
        """The address that it is posted to."""
        host = self.connection.host or ""
        if "://" in host:
            return host
        port = f":{self.connection.port}" if self.connection.port else ""
        path = self.connection.extra_dejson.get("path", "")
        return f"{self.connection.schema or 'https'}://{host}{port}{path}"
