"""A run with a parameter that its DAG does not have is refused: Airflow itself takes any key in a run's `conf`.

Among these are the places of the installation (the data set, the models, the sources), which no DAG has as parameters.

The API server refuses to create it, with status 400 and the parameter that was probably meant; so the trigger form, the REST
API and the command line's client learn of the mistake at once. A run that came into being in another way (`airflow dags
trigger` on the server itself, a TriggerDagRunOperator) fails in its first task. Every task takes its parameters from
`known_parameters`, so that none works for such a run if somebody marks the first one as a success.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.sdk import Context

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NEW_RUN: Final = re.compile(r"/api/v2/dags/(skin_lesion_[a-z]+)/dagRuns/?$")


def known_parameters(context: Context) -> dict[str, Any]:
    """Return the parameters of this run. Raises DataError if it was started with one that its DAG does not have."""
    from skinlesion.foundation.errors import DataError

    problem = unknown_parameters(context["dag"].dag_id, context["dag_run"].conf or {}, context["dag"].params)
    if problem:
        raise DataError(problem)
    return dict(context["params"])


def unknown_parameters(dag_id: str, given: Iterable[str], known: Iterable[str]) -> str:
    """Return which of the given parameters the DAG does not have and what to do, empty if it has them all."""
    names = list(known)
    sentences = [
        f"{dag_id} has no parameter `{name}`. {_hint(name, names)}".rstrip() for name in given if name not in names
    ]
    return " ".join([*sentences, "Nothing was done: start another run."]) if sentences else ""


def _hint(name: str, known: list[str]) -> str:
    from skinlesion.foundation.settings import IN_FORM
    from skinlesion.foundation.suggestion import did_you_mean
    from skinlesion.stages.settings import PipelineConfig

    if name in PipelineConfig.model_fields and not PipelineConfig.model_json_schema()["properties"][name][IN_FORM]:
        return f"`{name}` belongs to the installation: it is set there, in SKINLESION_{name.upper()}, and no run chooses it."
    return did_you_mean(name, known)


class RefuseUnknownParameters:
    """ASGI middleware of the API server: answers 400 to the creation of a run with an unknown parameter."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on unless it is to be refused."""
        creates = NEW_RUN.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if creates is None:
            await self.app(scope, receive, send)
            return
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request
        from starlette.responses import JSONResponse

        request = Request(scope, receive)
        body = await request.body()
        problem = await run_in_threadpool(_problem, creates[1], body)
        if problem:
            await JSONResponse({"detail": problem}, 400)(scope, receive, send)
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self.app(scope, replay, send)


def _problem(dag_id: str, body: bytes) -> str:
    import json

    from airflow.models.serialized_dag import SerializedDagModel

    try:
        conf = json.loads(body)["conf"]
    except (ValueError, KeyError, TypeError):
        return ""  # Airflow says what is wrong with it
    found = SerializedDagModel.get(dag_id)
    return unknown_parameters(dag_id, conf, found.dag.params) if found is not None and isinstance(conf, dict) else ""


class SkinLesionParameters(AirflowPlugin):
    """Refuse a run with a mistyped parameter."""

    name = "skin_lesion_parameters"
    fastapi_root_middlewares = [  # noqa: RUF012
        {"middleware": RefuseUnknownParameters, "args": [], "kwargs": {}, "name": "Parameters of the skin-lesion DAGs"}
    ]
