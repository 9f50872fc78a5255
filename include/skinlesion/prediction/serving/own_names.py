"""The names under which the server answers, and the pages that may have it compute.

A browser sends what any site tells it to: to this machine by a name of the site that resolves to 127.0.0.1 (DNS rebinding), or
straight as a form. Both say where they come from, in `Host` and in `Origin` and `Sec-Fetch-Site`, which no script can set.

Starlette's TrustedHostMiddleware knows neither origins nor paths that anybody may ask, and its answer does not say what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from skinlesion.prediction.serving.problem import Problem
from skinlesion.prediction.serving.settings import ServerSettings

PROBES: Final = ("/healthz", "/readyz")
"""Paths that answer under any name: Kubernetes asks for a pod by its address. They say whether the server is ready, no more."""

_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9_.-]+))(?::[0-9]+)?", re.IGNORECASE)
_OWN_SITES: Final = (b"same-origin", b"none")


class OwnNames:
    """The names of the settings and of this machine. A server for others without names of its own is kept by its token alone."""

    def __init__(self, settings: ServerSettings) -> None:
        self._named = frozenset(name.strip().lower() for name in settings.hosts.split(",") if name.strip())
        self._is_limited = settings.is_loopback or bool(self._named)
        self._own = _LOCAL | self._named | {settings.host.lower()}

    def check(self, method: str, path: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise the Problem of a request that asks for another name, or that a page of another site has sent."""
        given: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            given.setdefault(name, []).append(value)
        host = b"".join(given.get(b"host", [])).decode("latin-1")
        if self._is_limited and path not in PROBES and _name(host) not in self._own:
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown-host",
                f"The server does not answer to the name {host[:100]!r}. Ask for one of {', '.join(sorted(self._own))}; if people "
                "reach it by another name, as behind a proxy, set that name in SKINLESION_SERVE_HOSTS.",
            )
        if method in ("GET", "HEAD"):
            return
        origins, sites = given.get(b"origin", []), given.get(b"sec-fetch-site", [])
        if not all(self._is_own(one.decode("latin-1"), host) for one in origins) or not set(sites) <= set(_OWN_SITES):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "foreign-origin",
                "A page of another site sent this. Use the server's own page, or a program that sends no Origin; if this is its own "
                "page behind a proxy, set the name that people type in SKINLESION_SERVE_HOSTS.",
            )

    def _is_own(self, origin: str, host: str) -> bool:
        netloc = urlsplit(origin).netloc if re.fullmatch(r"https?://[^@/?#]+", origin) else ""
        return bool(netloc) and (netloc.lower() == host.lower() or _name(netloc) in self._named)


def _name(host: str) -> str:
    """Return the name in a Host header without its port, empty for one that is malformed."""
    found = _HOST.fullmatch(host)
    return (found["v6"] or found["name"]).lower() if found else ""
