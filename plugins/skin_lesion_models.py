"""The pages of the skin-lesion models: "Models" and "Review" in Airflow's navigation, and the tab "Skin lesion model" on each run of a DAG.

Airflow loads this file in all its processes, so it imports nothing: the page itself, skin_lesion_page/, is loaded by the API
server when somebody first asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

PREFIX = "/skin-lesion-models"

Message = MutableMapping[str, Any]


class LazyPage:
    """The page as an ASGI application that is made at the first request; where that fails it refuses everything."""

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Answer one request."""
        try:
            page = _page()
        except ImportError:
            log.exception("The page of the skin-lesion models cannot be loaded: is the package skinlesion installed?")
            await _refuse(send)
            return
        await page(scope, receive, send)


@cache
def _page() -> Any:
    from skin_lesion_page.application import application

    return application()


async def _refuse(send: Callable[[Message], Awaitable[None]]) -> None:
    text = b"This page cannot be shown: see the log of Airflow's API server.\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class SkinLesionModels(AirflowPlugin):
    """What is in service and why, every version with its verdict and report, and the way back."""

    name = "skin_lesion_models"
    fastapi_apps = [{"app": LazyPage(), "url_prefix": PREFIX, "name": "Skin lesion models"}]  # noqa: RUF012
    # Addresses are relative: Airflow's own page knows the prefix of [api] base_url.
    external_views = [  # noqa: RUF012
        {
            "name": "Models",  # a longer name would be cut
            "href": f"{PREFIX[1:]}/",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "skin-lesion-models",
        },
        {
            "name": "Review",
            "href": f"{PREFIX[1:]}/review",
            "destination": "nav",
            "nav_top_level": True,
            "url_route": "skin-lesion-review",
        },
        {
            "name": "Skin lesion model",
            "href": f"{PREFIX[1:]}/run?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "skin-lesion-models-of-run",
        },
    ]
