"""The API's documents as OpenAPI describes them, with examples. The routes write plain JSON; tests compare the two."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from skinlesion.prediction.learnt import Learnt
from skinlesion.prediction.serving.upload import CASE, FIELD

NOTICE: Final = "Research and education only. Not a medical device."

FORMATS: Final = "JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF, HEIC, JPEG 2000 or DICOM"
"""Of images, for people."""

_VERSION: Final = "5f0c9a7be1d24a86"


class Probabilities(BaseModel):
    """The probabilities of the classes, which add up to one. The warnings of `/v1/model` say where they are not
    calibrated."""

    benign: float = Field(ge=0, le=1)
    malignant: float = Field(ge=0, le=1)
    unknown: float = Field(ge=0, le=1)


class ImagePrediction(BaseModel):
    """The prediction for one image. For an image that cannot be used there are only `file` and `refused`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "file": "ISIC_0024306.jpg",
                    "decision": "malignant",
                    "title": "Malignant",
                    "reason": "P(malignant) is 0.412, at least 0.137: the threshold chosen to find 95% of the malignant "
                    "images on 120 malignant lesions of the training part.",
                    "meaning": "Of 100 pictures that are called malignant, 3.1 (2.6–3.8) are malignant where 1 of 100 lesions is "
                    "malignant; 9.0 (7.6–11) where 3 of 100 are; 26 (22–30) where 10 of 100 are.",
                    "learnt": "no",
                    "learnt_because": "",
                    "label": "benign",
                    "probabilities": {"benign": 0.531, "malignant": 0.412, "unknown": 0.057},
                },
                {"file": "notes.jpg", "refused": "not a readable image (its content is of no known image format)"},
            ]
        }
    )

    file: str = Field(description="The name that the client gave.")
    decision: str | None = Field(
        default=None, description="benign, malignant, unknown (an indeterminate lesion), or no answer."
    )
    title: str | None = Field(default=None, description="The decision as people read it.")
    reason: str | None = Field(default=None, description="Why, in a sentence.")
    meaning: str | None = Field(
        default=None, description="Of 100 so decided so many are malignant; null if that was not measured."
    )
    learnt: Learnt | None = Field(
        default=None, description="Whether the model learnt from this picture; null if its files do not tell."
    )
    learnt_because: str | None = Field(default=None, description="The same for people; empty if it did not.")
    label: str | None = Field(default=None, description="The most probable class.")
    probabilities: Probabilities | None = None
    logged: str | None = Field(
        default=None,
        description="The name of the picture in the prediction log, for a later diagnosis; null if it is not noted.",
    )
    refused: str | None = Field(default=None, description="Why the image cannot be used.")


class ModelName(BaseModel):
    """The model that answered."""

    version: str = Field(description="The run that trained it.")
    number: int | None = Field(description="Number of the version in the registry.")


class Predictions(BaseModel):
    """One prediction for each image, in the order of the request, all by the same version."""

    model: ModelName
    predictions: list[ImagePrediction]
    notice: str = NOTICE


class OneDiagnosis(BaseModel):
    """A diagnosis of a case, or of one picture."""

    model_config = ConfigDict(extra="forbid")

    case: str = Field(default="", description="The id of the case, as it was sent with the images.")
    picture: str = Field(default="", description="The picture, as `logged` named it in its answer.")
    dx: str = Field(description="A code such as mel, or a name of the ISIC Archive's taxonomy.")
    date: str = Field(default="", description="Day of the diagnosis, such as 2026-11-30; today without one.")


class LateDiagnoses(BaseModel):
    """Diagnoses that came after the answers."""

    model_config = ConfigDict(extra="forbid")

    diagnoses: list[OneDiagnosis] = Field(min_length=1)


class Noted(BaseModel):
    """How many diagnoses were noted."""

    noted: int


class Overlay(BaseModel):
    """The image at 224x224 with a heat map of the regions that raise the probability of `label`."""

    model: ModelName
    label: str = Field(description="The class that the heat map is for.")
    image: str = Field(description="A data: URI, JPEG.")


class Limits(BaseModel):
    """The limits of a request."""

    images: int
    upload_bytes: int
    image_bytes: int
    image_pixels: int


class OperatingPoint(BaseModel):
    """The probability from which on the decision is malignant."""

    malignant_threshold: float
    target_sensitivity: float | None
    malignant_lesions: int | None = Field(description="Number of malignant lesions that it was chosen on.")
    chosen: str = Field(description="How it was chosen, for people.")


class HeadlineFigure(BaseModel):
    """A figure as every surface shows it. The numbers are there only where they rest on lesions enough to be shown."""

    title: str
    number: str
    interval: str
    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


class MainFigures(BaseModel):
    """What was measured on held-out lesions, with 95 % intervals."""

    images: int
    lesions: int
    headline: dict[str, HeadlineFigure]
    malignant_lesions: str | None = Field(description="What becomes of malignant lesions, for people.")


class Model(BaseModel):
    """The model that answers."""

    version: str
    number: int | None
    since: str = Field(description="When it came into service, ISO 8601.")
    sha256: dict[str, str]
    labels: list[str]
    decision_rule: OperatingPoint | None
    figures: MainFigures | None
    warnings: list[str] = Field(description="What a reader of its answers must know.")
    card: str | None = Field(description="Path of the model card, relative to the API; null without one.")
    refused: str = Field(description="Why the model in service is not the one that answers; empty if it is.")
    limits: Limits
    notice: str = NOTICE


class ProblemDocument(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:problem:skinlesion:no-usable-image",
                    "title": "No usable image",
                    "status": 422,
                    "detail": "notes.jpg: not a readable image (its content is of no known image format)",
                }
            ]
        },
    )

    type: str
    title: str
    status: int
    detail: str


UPLOAD: Final = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "format": "binary"},
                        "description": f"Image files: {FORMATS}.",
                    },
                    CASE: {
                        "type": "string",
                        "maxLength": 100,
                        "description": "Your id of the case that the images show, of which the prediction log keeps a keyed hash.",
                    },
                },
            }
        }
    },
}

PREDICTIONS_EXAMPLE: Final = {
    "model": {"version": _VERSION, "number": 12},
    "predictions": ImagePrediction.model_config["json_schema_extra"]["examples"],  # type: ignore[index]
    "notice": NOTICE,
}

_PROBLEMS: Final = {
    400: "The request is malformed.",
    401: "The token is missing or wrong.",
    403: "A page of another site sent the request.",
    404: "The model has no model card, or the server keeps no prediction log.",
    405: "The path does not accept this method.",
    408: "The upload takes too long.",
    413: "The upload, an image or the number of images is larger than the server accepts.",
    415: "The body is no multipart/form-data.",
    421: "The request asks for a name that the server does not have.",
    422: "No image can be used; the reasons are given.",
    503: "No model is in service, or the server is busy; `Retry-After` says when to come again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the descriptions of the responses with these statuses, for a route."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _PROBLEMS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
