"""The API's documents as OpenAPI describes them, with examples. They are written as plain JSON; tests compare the two."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from skinlesion.prediction.serving.upload import FIELD

NOTICE: Final = "Research and education only. Not a medical device."

_VERSION: Final = "5f0c9a7be1d24a86"


class Probabilities(BaseModel):
    """Calibrated, where the model has a decision rule; they add up to one."""

    benign: float = Field(ge=0, le=1)
    malignant: float = Field(ge=0, le=1)
    unknown: float = Field(ge=0, le=1)


class ImagePrediction(BaseModel):
    """What the model says of one image; of an image that cannot be used, `file` and `refused` alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "file": "ISIC_0024306.jpg",
                    "decision": "malignant",
                    "reason": "The probability of malignant, 0.412, is at least the operating threshold, 0.137.",
                    "label": "benign",
                    "probabilities": {"benign": 0.531, "malignant": 0.412, "unknown": 0.057},
                },
                {"file": "notes.jpg", "refused": "not a readable image (its content is of no known image format)"},
            ]
        }
    )

    file: str = Field(description="The name that the client gave.")
    decision: str | None = Field(
        default=None, description="benign, malignant, or unknown: indeterminate, or the model abstains."
    )
    reason: str | None = Field(default=None, description="Why, in a sentence.")
    label: str | None = Field(default=None, description="The most probable class.")
    probabilities: Probabilities | None = None
    refused: str | None = Field(default=None, description="Why the image cannot be used.")


class ModelName(BaseModel):
    """Which model answered."""

    version: str = Field(description="The run that trained it.")
    number: int | None = Field(description="Of the version in the registry.")


class Predictions(BaseModel):
    """One prediction an image, in the order of the request, all by the same version."""

    model: ModelName
    predictions: list[ImagePrediction]
    notice: str = NOTICE


class Overlay(BaseModel):
    """Where the model looked: the image at 224x224 with a heat map over it."""

    model: ModelName
    label: str = Field(description="The class that it is for.")
    image: str = Field(description="A data: URI, JPEG.")


class Limits(BaseModel):
    """What a request may bring."""

    images: int
    upload_bytes: int
    image_bytes: int
    image_pixels: int


class OperatingPoint(BaseModel):
    """Where the decision malignant begins."""

    malignant_threshold: float
    target_sensitivity: float | None


class Model(BaseModel):
    """The model that answers."""

    version: str
    number: int | None
    since: str = Field(description="When it came into service, ISO 8601; empty where there is no record.")
    sha256: dict[str, str]
    labels: list[str]
    decision_rule: OperatingPoint | None
    figures: dict[str, Any] | None = Field(description="Measured on held-out lesions; intervals are of 95 %.")
    card: str | None = Field(description="Where the model card is.")
    refused: str = Field(description="Why the model in service is not the one that answers; empty where it is.")
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
                        "description": "Image files: JPEG, PNG, TIFF, WebP, BMP or GIF.",
                    }
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
    404: "There is none.",
    405: "The path does not take this method.",
    408: "The upload is too slow.",
    413: "The upload, an image or the number of images is larger than is taken.",
    415: "The body is no multipart/form-data.",
    422: "No image can be used; the reasons are given.",
    503: "No model is in service, or the server is busy; `Retry-After` says when to come again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Give the responses of these statuses, for a route's description."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": _PROBLEMS[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in statuses
    }
