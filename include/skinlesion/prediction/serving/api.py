"""The API's routes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from skinlesion.data.images.file import ImageRefused
from skinlesion.data.labels.classes import LABELS
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.html_page import picture
from skinlesion.prediction.classifier import pixels_for_model
from skinlesion.prediction.log import diagnoses as late_diagnoses
from skinlesion.prediction.log.diagnoses import diagnosis_of
from skinlesion.prediction.log.writer import PredictionLog
from skinlesion.prediction.serving import metrics as metrics_text
from skinlesion.prediction.serving.documents import (
    NOTICE,
    PREDICTIONS_EXAMPLE,
    UPLOAD,
    LateDiagnoses,
    Model,
    Noted,
    Overlay,
    Predictions,
    problems,
)
from skinlesion.prediction.serving.grad_cam_process import GradCamProcess, Question
from skinlesion.prediction.serving.image_queue import ImageAnswer, ImageQueue
from skinlesion.prediction.serving.metrics import Metrics
from skinlesion.prediction.serving.model_watch import ModelWatch
from skinlesion.prediction.serving.page import card_page
from skinlesion.prediction.serving.problem import Problem, busy, too_large
from skinlesion.prediction.serving.served_model import ServedModel
from skinlesion.prediction.serving.settings import ServerSettings
from skinlesion.prediction.serving.shadow import Shadow
from skinlesion.prediction.serving.upload import Buffered, Upload, read_uploads

UPLOADS_IN_MEMORY: Final = 3.0
"""As many bytes as so many of the largest uploads have are held, of all requests together."""

LARGEST_BODY: Final = 1_000_000
"""Bytes of the diagnoses of a request; a thousand have a tenth of it."""

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
        prediction_log: PredictionLog | None,
        shadow: Shadow | None,
        *,
        min_side: int,
    ) -> None:
        """min_side: shortest side of an image that is accepted, in pixels."""
        self._log, self._shadow = prediction_log, shadow
        self._settings = settings
        self._watch = watch
        self._images = images
        self._grad_cam = grad_cam
        self._metrics = metrics
        self._min_side = min_side
        self._buffered = Buffered(round(UPLOADS_IN_MEMORY * settings.max_upload_bytes))

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
        router.post(
            "/v1/diagnoses",
            summary="Note diagnoses that came after the answers",
            response_model=Noted,
            responses=problems(401, 403, 404, 413, 421, 422, 503),
            openapi_extra={
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": LateDiagnoses.model_json_schema(ref_template="#/components/schemas/{model}")
                        }
                    },
                }
            },
            tags=["predictions"],
        )(self.diagnoses)
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
            sent = await read_uploads(request, self._settings, reserve)
            start = time.perf_counter()
            answers = await self._images.predict(model, sent.images)
        _refuse_if_none_is_usable(answers)
        await self._note(answers, sent.case)
        predictions = [answer.document for answer in answers]
        response = _json({"model": _name(model), "predictions": predictions, "notice": NOTICE})
        seconds = time.perf_counter() - start
        self._metrics.prediction.observe(seconds)
        response.headers["Server-Timing"] = f"predict;dur={seconds * 1000:.2f}"
        return response

    async def _note(self, answers: list[ImageAnswer], case: str) -> None:
        """Put the answers into the prediction log, if there is one, and into each the name that its picture has there.

        What is in the log the candidate in the shadow is asked about too.
        """
        entries = [(answer, answer.entry) for answer in answers if answer.entry is not None]
        if self._log is not None and await self._log.note([entry for _, entry in entries], case):
            for answer, entry in entries:
                answer.document["logged"] = entry["picture"]
                if self._shadow is not None and answer.pixels is not None:
                    self._shadow.take(entry, answer.pixels, answer.sha256)

    async def diagnoses(self, request: Request) -> Response:
        """Note diagnoses that came after the answers, all of them or none: of a case, or of a picture by its `logged`."""
        if self._log is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "no-log",
                "This server keeps no prediction log: its setting `log` names the folder of one.",
            )
        try:
            sent = LateDiagnoses.model_validate_json(await self._body(request))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no-diagnoses", f"{where}: {first['msg']}.") from None
        folder, key = self._log.folder, self._log.key
        try:
            found = [
                diagnosis_of(key, f"diagnoses.{at}", case=one.case, picture=one.picture, dx=one.dx, day=one.date)
                for at, one in enumerate(sent.diagnoses)
            ]
            noted = await run_in_threadpool(late_diagnoses.add, folder, found)
        except DataError as error:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "no-diagnoses", str(error)) from None
        except OSError as error:
            raise busy(
                f"The diagnoses could not be noted ({error.strerror or error}). Send them again later."
            ) from None
        return _json({"noted": noted})

    async def _body(self, request: Request) -> bytes:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise too_large(
                    f"The body is larger than {LARGEST_BODY:,} bytes. Send the diagnoses in several requests."
                )
        return body

    async def grad_cam(
        self, request: Request, label: Annotated[Literal["benign", "malignant", "unknown"], Query()] = "malignant"
    ) -> Response:
        """Return the image with a heat map (Grad-CAM) of the regions that raise the probability of `label`.

        The first call starts a process with TensorFlow, which takes some seconds.
        """
        model = self._watch.current()
        with self._buffered.request() as reserve:
            uploads = (await read_uploads(request, self._settings, reserve)).images
            if len(uploads) > 1:
                raise Problem(
                    HTTPStatus.UNPROCESSABLE_ENTITY, "one-image", f"Expected one image, found {len(uploads)}."
                )
            question = await run_in_threadpool(self._question, model, uploads[0], label)
        image = await self._grad_cam.overlay(question)
        return _json({"model": _name(model), "label": label, "image": picture(image)})

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
        return _json(document)

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


def _json(document: Mapping[str, Any]) -> Response:
    return JSONResponse(document, headers={"Cache-Control": "no-store"})
