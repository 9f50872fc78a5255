"""Listening: uvicorn with deadlines for each connection, and how it starts and ends."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.connection import BoundedConnection
from skinlesion.prediction.serving.front import App
from skinlesion.prediction.serving.settings import ServerSettings, api_token

log = logging.getLogger(__name__)

_SWITCH_SECONDS = 0.001
"""How long a thread keeps Python's lock while others want it. The default, 5 ms, is what an answer may take in all."""


def serve(config: DataSettings, settings: ServerSettings, *, announce: Callable[[str], None]) -> None:
    """Serve until the process is told to end (Ctrl-C, SIGTERM); answers that have begun are finished first.

    announce: told the address when the server listens. Raises DataError when others could reach it without a token, or
    the address cannot be had.
    """
    token = api_token(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Pillow's notes on odd metadata: whoever sends images must not write to the log with them.
    warnings.filterwarnings("ignore", module="PIL")
    server = make_server(create_app(config, settings, token), settings, announce)
    with suppress(SystemExit):  # uvicorn has logged why
        server.run()
    if not server.started:
        raise DataError(
            f"Cannot listen on {settings.host} port {settings.port}: another program may be there, or this machine has no "
            "such address. Choose others with --host and --port."
        )


def make_server(app: App, settings: ServerSettings, announce: Callable[[str], None]) -> uvicorn.Server:
    """Give a server that is ready to `run`."""
    return _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=type("Connection", (BoundedConnection,), {"most_connections": settings.connections}),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
        ),
        announce,
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, *arguments: object, **options: object) -> None:
        await super().startup(*arguments, **options)  # type: ignore[arg-type]
        for server in getattr(self, "servers", []):
            for socket in server.sockets:
                host, port = socket.getsockname()[:2]
                self._announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
