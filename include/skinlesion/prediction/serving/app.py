"""The application: the API and the web page on one port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from skinlesion.data.settings import DataSettings
from skinlesion.prediction.log.writer import PredictionLog
from skinlesion.prediction.serving import page
from skinlesion.prediction.serving.api import Api
from skinlesion.prediction.serving.documents import NOTICE, OneDiagnosis, ProblemDocument
from skinlesion.prediction.serving.front import App, Front, failed
from skinlesion.prediction.serving.grad_cam_process import GradCamProcess, Overlay
from skinlesion.prediction.serving.image_queue import ImageQueue
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.model_watch import ModelWatch
from skinlesion.prediction.serving.own_names import OwnNames
from skinlesion.prediction.serving.problem import Problem
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.prediction.serving.shadow import Shadow


def create_app(
    config: DataSettings,
    settings: ServerSettings,
    token: SecretStr | None = None,
    *,
    overlay: Overlay | None = None,
) -> App:
    """Return the application (ASGI).

    Args:
        config: where the models are, and the shortest side of an image that is accepted.
        settings: the limits of a request.
        token: the token that callers of the API must send; None when they need none.
        overlay: a function that replaces the project's Grad-CAM, for tests.
    """
    metrics = Metrics()
    watch = ModelWatch(config.models, settings.threads_used(), metrics)
    prediction_log = PredictionLog(Path(settings.log).absolute(), days=settings.log_days) if settings.log else None
    key, shadow = None, None
    if prediction_log is not None:
        metrics.logging(lambda: prediction_log.entries, lambda: prediction_log.missing)
        key = prediction_log.key
        if settings.shadow:
            shadow = Shadow(config.models, prediction_log, metrics, seconds=settings.watch_seconds)
    quiet = shadow.quiet if shadow is not None else None
    images = ImageQueue(settings, metrics, min_side=config.min_image_side, key=key, quiet=quiet)
    grad_cam = GradCamProcess(
        metrics, seconds=settings.grad_cam_seconds, most_waiting=settings.grad_cam_waiting, overlay=overlay
    )

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch.watch(settings.watch_seconds))
        try:
            yield
        finally:
            watching.cancel()
            images.close()
            grad_cam.close()
            if shadow is not None:
                shadow.close()
            if prediction_log is not None:
                prediction_log.close()

    app = FastAPI(
        title="Skin-lesion classifier",
        version="1",
        description=f"{NOTICE} Predictions of dermoscopic images: benign, malignant, unknown. Images are processed in "
        "memory and never stored; where the prediction log is on, answers are noted without them.",
        # FastAPI's documentation pages load scripts from another server.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=running,
    )
    api = Api(settings, watch, images, grad_cam, metrics, prediction_log, shadow, min_side=config.min_image_side)
    app.include_router(api.router())
    app.include_router(page.router())
    _describe(app, needs_token=token is not None)
    _answer_errors_as_problems(app)
    paths = frozenset(str(getattr(route, "path", "")) for route in app.routes)
    return Front(app, metrics, OwnNames(settings), token, paths)


def _answer_errors_as_problems(app: FastAPI) -> None:
    async def problem(request: Request, found: Exception) -> Response:
        assert isinstance(found, Problem)
        return found.response()

    async def http_error(request: Request, found: Exception) -> Response:
        assert isinstance(found, HTTPException)
        status = HTTPStatus(found.status_code)
        detail = (
            f"There is nothing at {request.url.path[:100]!r}: /openapi.json describes the API."
            if status == HTTPStatus.NOT_FOUND
            else f"{request.url.path[:100]!r} does not accept {request.method[:20]}."
            if status == HTTPStatus.METHOD_NOT_ALLOWED
            else str(found.detail)
        )
        kind = status.phrase.lower().replace(" ", "-")
        return Problem(status, kind, detail, headers=found.headers).response()

    async def invalid(request: Request, found: Exception) -> Response:
        assert isinstance(found, RequestValidationError)
        wrong = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in found.errors()]
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-parameter", "; ".join(wrong)[:500]).response()

    async def bug(request: Request, found: Exception) -> Response:
        return failed().response()  # `Front` logs it

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(Exception, bug)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)


def _describe(app: FastAPI, *, needs_token: bool) -> None:
    """Add to the OpenAPI document what FastAPI cannot know: the problem documents, and the token that `Front` checks."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for model in (ProblemDocument, OneDiagnosis):
                schemas[model.__name__] = model.model_json_schema()
            if needs_token:
                document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, operations in document["paths"].items():
                    if path.startswith(("/v1/", "/metrics")):
                        for operation in operations.values():
                            operation["security"] = [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
