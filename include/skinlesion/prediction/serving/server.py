"""The process that serves: its socket, uvicorn and uvicorn's own limits."""

from __future__ import annotations

import logging
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Final

import uvicorn

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.serving.app import create_app
from skinlesion.prediction.serving.front import App
from skinlesion.prediction.serving.settings import ServerSettings, api_token

log = logging.getLogger(__name__)

_SWITCH_SECONDS: Final = 0.001
"""How long a thread keeps Python's lock while others want it. The default, 5 ms, is as long as a whole answer may take."""

_WAITING_CONNECTIONS: Final = 2048
"""Connections that the system holds until the server accepts them."""

_LARGEST_HEAD: Final = 16 * 1024
"""Most bytes of a request's line and headers."""


def serve(config: DataSettings, settings: ServerSettings, *, announce: Callable[[str], None]) -> None:
    """Serve until the process is asked to end (Ctrl-C, SIGTERM); requests that have begun are answered first.

    Args:
        config: where the models are, and the shortest side of an image that is accepted.
        settings: where to listen and what to accept.
        announce: called with the address as soon as clients can connect.

    Raises DataError when others could reach the server without a token, or the address cannot be listened on.
    """
    token = api_token(settings)
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Pillow warns about odd metadata: whoever sends images must not write to the log with them.
    warnings.filterwarnings("ignore", module="PIL")
    server = make_server(create_app(config, settings, token), settings)
    with listening_socket(settings) as listener:
        host, port = listener.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
        server.run(sockets=[listener])


def listening_socket(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens on the address of the settings. Raises DataError when that is impossible."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        raise DataError(
            f"Cannot listen on {settings.host} port {settings.port} ({error.strerror}): another program may be there, or "
            "this machine has no such address. Choose others with --host and --port."
        ) from None


def make_server(app: App, settings: ServerSettings) -> uvicorn.Server:
    """Return a server that is ready to run on a `listening_socket`.

    Its limits are uvicorn's: the number of connections, the size of a request's head, the time that a connection may be
    idle between two requests. A client that sends its head slowly is the proxy's business (deploy/Caddyfile).
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            # uvicorn's other parser, httptools, has no limit of a request's head.
            http="h11",
            h11_max_incomplete_event_size=_LARGEST_HEAD,
            # uvicorn turns a request away when this many connections are open, its own among them.
            limit_concurrency=settings.connections + 1,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=10,
        )
    )
