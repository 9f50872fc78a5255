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


async def lazy_page(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer a request by the page, which is made at the first one; where that fails it refuses everything."""
    try:
        page = _page()
    except ImportError:
        from starlette.responses import PlainTextResponse

        log.exception("The page of the skin-lesion models cannot be loaded: is the package skinlesion installed?")
        page = PlainTextResponse("This page cannot be shown: see the log of Airflow's API server.\n", 503)
    await page(scope, receive, send)


@cache
def _page() -> Any:
    from skin_lesion_page.application import application

    return application()


class SkinLesionModels(AirflowPlugin):
    """What is in service and why, every version with its verdict and report, and the way back."""

    name = "skin_lesion_models"
    fastapi_apps = [{"app": lazy_page, "url_prefix": PREFIX, "name": "Skin lesion models"}]  # noqa: RUF012
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
