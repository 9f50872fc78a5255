"""The API's routes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from skinlesion.data.images.file import ImageRefused
from skinlesion.data.labels.classes import LABELS
from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.prediction.serving import metrics as metrics_text
from skinlesion.prediction.serving.documents import (
    NOTICE,
    PREDICTIONS_EXAMPLE,
    UPLOAD,
    Model,
    Overlay,
    Predictions,
    problems,
)
from skinlesion.prediction.serving.grad_cam_process import GradCamProcess, Question
from skinlesion.prediction.serving.image_queue import ImageAnswer, ImageQueue
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.model_watch import ModelWatch
from skinlesion.prediction.serving.page import card_page
from skinlesion.prediction.serving.problem import Problem
from skinlesion.prediction.serving.served_model import ServedModel
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.prediction.serving.upload import Buffered, Upload, read_uploads

LONGEST_LIST: Final = 20
"""Images that the answer names when none of a request's images can be used."""


class Api:
    """The routes and what they need to answer."""

    def __init__(
        self,
        settings: ServerSettings,
        watch: ModelWatch,
        images: ImageQueue,
        grad_cam: GradCamProcess,
        metrics: Metrics,
        *,
        min_side: int,
    ) -> None:
        """min_side: shortest side of an image that is accepted, in pixels."""
        self._settings = settings
        self._watch = watch
        self._images = images
        self._grad_cam = grad_cam
        self._metrics = metrics
        self._min_side = min_side
        self._buffered = Buffered(settings.buffered_bytes)

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter()
        router.post(
            "/v1/predict",
            summary="Predict one or more images",
            response_model=Predictions,
            responses={
                200: {"content": {"application/json": {"example": PREDICTIONS_EXAMPLE}}},
                **problems(400, 401, 403, 408, 413, 415, 421, 422, 503),
            },
            openapi_extra={"requestBody": UPLOAD},
            tags=["predictions"],
        )(self.predict)
        router.post(
            "/v1/grad-cam",
            summary="Show which regions of an image decide the answer",
            response_model=Overlay,
            responses=problems(400, 401, 403, 408, 413, 415, 421, 422, 503),
            openapi_extra={"requestBody": UPLOAD},
            tags=["predictions"],
        )(self.grad_cam)
        router.get(
            "/v1/model",
            summary="The model that answers",
            response_model=Model,
            responses=problems(401, 421, 503),
            tags=["model"],
        )(self.model)
        router.get(
            "/v1/model/card",
            summary="The model card of the version that answers",
            response_class=Response,
            responses={200: {"content": {"text/plain": {}}}, **problems(401, 404, 421, 503)},
            tags=["model"],
        )(self.card)
        router.get("/v1/model/card.html", include_in_schema=False)(self.card_page)
        router.get("/healthz", summary="Whether the server is alive", tags=["running"])(self.healthz)
        router.get("/readyz", summary="Whether a model is ready to answer", responses=problems(503), tags=["running"])(
            self.readyz
        )
        router.get(
            "/metrics",
            summary="Metrics for Prometheus",
            response_class=Response,
            responses={200: {"content": {"text/plain": {}}}, **problems(401, 421)},
            tags=["running"],
        )(self.metrics)
        return router

    async def predict(self, request: Request) -> Response:
        """Return the decision, its reason and the probabilities for each image of the field `images`.

        The images are held in memory, and only until the answer is sent. For an image that cannot be used, `refused` says
        why; when none can be used, the answer is 422.
        """
        model = self._watch.current()
        with self._buffered.request() as reserve:
            uploads = await read_uploads(request, self._settings, reserve)
            start = time.perf_counter()
            answers = await self._images.predict(model, uploads)
        _refuse_if_none_is_usable(answers)
        document = {
            "model": _name(model),
            "predictions": [answer.document for answer in answers],
            "notice": NOTICE,
        }
        body = json.dumps(document).encode()
        seconds = time.perf_counter() - start
        self._metrics.prediction.observe(seconds)
        return _json(body, {"Server-Timing": f"predict;dur={seconds * 1000:.2f}"})

    async def grad_cam(
        self, request: Request, label: Annotated[Literal["benign", "malignant", "unknown"], Query()] = "malignant"
    ) -> Response:
        """Return the image with a heat map (Grad-CAM) of the regions that raise the probability of `label`.

        The first call starts a process with TensorFlow, which takes some seconds.
        """
        model = self._watch.current()
        with self._buffered.request() as reserve:
            uploads = await read_uploads(request, self._settings, reserve)
            if len(uploads) > 1:
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY, "one-image", f"Expected one image, found {len(uploads)}."
                )
            question = await run_in_threadpool(self._question, model, uploads[0], label)
        image = await self._grad_cam.overlay(question)
        uri = "data:image/jpeg;base64," + base64.b64encode(image).decode()
        return _json(json.dumps({"model": _name(model), "label": label, "image": uri}).encode())

    def _question(self, model: ServedModel, upload: Upload, label: str) -> Question:
        try:
            pixels = pixels_for_model(
                upload.content, max_pixels=self._settings.max_image_pixels, min_side=self._min_side
            )
        except ImageRefused as refusal:
            raise _unusable(f"{upload.name}: {refusal}") from None
        return Question(model.h5, model.sha256[model.h5.name], pixels, label)

    async def model(self) -> Response:
        """Return the version, its files' hashes, its operating point and main figures, and the limits of a request."""
        model = self._watch.current()
        document = {
            **_name(model),
            "since": model.since,
            "sha256": model.sha256,
            "labels": list(LABELS),
            "decision_rule": model.operating_point(),
            "figures": model.main_figures(),
            "warnings": model.warnings(),
            "card": "v1/model/card" if model.card else None,
            "refused": self._watch.refused,
            "limits": {
                "images": self._settings.max_images,
                "upload_bytes": self._settings.max_upload_bytes,
                "image_bytes": self._settings.max_image_bytes,
                "image_pixels": self._settings.max_image_pixels,
            },
            "notice": NOTICE,
        }
        return _json(json.dumps(document).encode())

    def card(self) -> Response:
        """Return the model card of the version that answers, in Markdown."""
        # As plain text: every browser shows it, and runs nothing in it.
        return Response(self._card(), media_type="text/plain")

    def card_page(self) -> Response:
        """Return the same as a page."""
        return Response(card_page(self._card().decode()), media_type="text/html; charset=utf-8")

    def _card(self) -> bytes:
        path = self._watch.current().card
        try:
            content = path.read_bytes() if path else b""
        except OSError:
            content = b""
        if not content:
            raise Problem(HTTPStatus.NOT_FOUND, "no-model-card", "The model in service has no model card.")
        return content

    async def healthz(self) -> dict[str, str]:
        """Return 200 as long as the server runs, with or without a model."""
        return {"status": "alive"}

    async def readyz(self) -> dict[str, str]:
        """Return 200 while a model answers, otherwise 503 and what to do."""
        return {"status": "ready", "version": self._watch.current().version}

    async def metrics(self) -> Response:
        """Return counters and times in Prometheus's text format."""
        return Response(self._metrics.text(), headers={"Content-Type": metrics_text.MEDIA_TYPE})


def _name(model: ServedModel) -> dict[str, Any]:
    return {"version": model.version, "number": model.number}


def _refuse_if_none_is_usable(answers: list[ImageAnswer]) -> None:
    if not all(answer.is_refused for answer in answers):
        return
    refused = [answer.document for answer in answers]
    reasons = "; ".join(f"{one['file']}: {one['refused']}" for one in refused[:LONGEST_LIST])
    raise _unusable(reasons, {"refused": refused})


def _unusable(detail: str, more: Mapping[str, Any] | None = None) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no-usable-image", detail, more=more)


def _json(body: bytes, headers: Mapping[str, str] | None = None) -> Response:
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store", **(headers or {})})
