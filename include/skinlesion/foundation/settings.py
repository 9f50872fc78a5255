"""Every setting: name, type, bounds, unit, default and why. The environment, the command line and Airflow's trigger
form all come from this one model.

A setting is taken, in this order, from the caller (`--set key=value`, the trigger form), from the environment variable
`SKINLESION_<NAME>`, else from its default.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from skinlesion.foundation.cores import cores_allowed
from skinlesion.foundation.errors import DataError

IMAGE_SIDE: Final = 224
"""Pixels; the side of MobileNetV2's published input, fixed by the recipe."""

PROJECT_ROOT: Final = Path(__file__).resolve().parents[3]
"""The checkout, since the package is installed editable from include/; paths in settings are relative to it."""

POOLED: Final = "global_average_pooling"
"""The layer behind the whole backbone: one vector of 1280 an image."""

CUT_LAYERS: Final = (
    "block_6_project_BN",
    "block_9_add",
    "block_12_add",
    "block_13_project_BN",
    "block_14_add",
    "block_15_add",
    "block_16_project_BN",
)

OptionalText = Annotated[
    str,
    BeforeValidator(lambda value: "" if value is None else value),
    WithJsonSchema({"type": ["string", "null"]}),
]
"""Text that may be left out. Airflow's form gives an emptied field as null, and asks for one that may not be null."""

ViewCount = Annotated[
    Literal[1, 2, 4], BeforeValidator(lambda value: int(value) if value in ("1", "2", "4") else value)
]
"""Of an image at prediction: the first of `symmetry`'s ways to lay it; text from `--set` and the environment is taken too."""

ADDRESS: Final = r"^https?://[^\s@]+$"
"""Of a server. Without a user: secrets come from the environment, and settings are shown in logs and forms."""

STORE: Final = r"^$|^[a-z][a-z0-9]*://[^\s@]*$"

COLLECTIONS: Final = r"^$|^[0-9]+(,[0-9]+)*$"

STAGE_SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "ingest": ("max_image_pixels", "min_image_side"),
    "resize": ("jpeg_quality",),
    "augment": (
        "seed", "jpeg_quality", "rotation_probability", "rotation_degrees", "flip_probability", "zoom_probability",
        "zoom_factor", "brightness_probability", "brightness_range",
    ),
    "build": ("dense_units", "dropout", "seed"),
    "train": (
        "loader", "fine_tune", "cut", "stored_ways", "epochs", "head_epochs", "batch_size", "learning_rate", "weight_decay",
        "label_smoothing", "class_weighting", "diagnosis_share", "inner_fold_fraction", "patience", "seed",
        "target_sensitivity", "coverage", "prediction_views",
    ),
}  # fmt: skip
"""Which settings each file that a stage makes depends on; `PipelineConfig.fingerprint` hashes them. What only decides
which files there are (`copies`), is decided once for ever (`held_out_fraction`) or is told anew in every run (the label,
`actinic_keratosis`) makes no file stale."""

PROMOTION_ALONE: Final = (
    "gate_balanced_accuracy_margin", "gate_sensitivity_margin", "gate_confidence", "gate_min_auroc",
    "gate_min_sensitivity", "gate_max_calibration_error", "gate_max_file_difference", "gate_max_latency", "gate_max_size",
    "gate_require_data_checks", "require_approval", "approval_hours", "keep_versions",
)  # fmt: skip
"""What only promotion looks at; with `PROMOTION_TOO` the form of its own DAG."""

PROMOTION_TOO: Final = ("dataset", "models", "workers")

PREDICTION_TOO: Final = ("models", "max_image_pixels", "min_image_side", "shards", "workers")
"""What a prediction of a folder looks at. Its table goes under the installation's data set: the form has none."""

STAGE_VERSIONS: Final[dict[str, int]] = {"resize": 2}
"""Counts up, from 1, when what a stage makes changes for a reason that no setting tells; its files are then stale."""


class PipelineConfig(BaseSettings):
    """The settings of a run. Frozen, validated, and an unknown name is refused.

    `json_schema_extra["section"]` groups the fields in Airflow's trigger form.
    """

    model_config = SettingsConfigDict(env_prefix="SKINLESION_", frozen=True, extra="forbid", validate_default=True)

    dataset: Path = Field(
        default=Path("dataset"),
        title="Image source",
        description="Folder with images/ and diagnoses.csv. Everything derived from them is written beside them.",
        json_schema_extra={"section": "Data"},
    )
    models: Path = Field(
        default=Path("models"),
        title="Models folder",
        description="Where the built model, the candidates and the model in service lie.",
        json_schema_extra={"section": "Data"},
    )
    held_out_fraction: float = Field(
        default=0.2,
        ge=0.05,
        le=0.5,
        title="Held-out share",
        description="Share of each diagnosis held out for evaluation. A lesion's side, once decided, never changes: "
        "another value applies to lesions that arrive later.",
        json_schema_extra={"section": "Data"},
    )
    actinic_keratosis: Literal["indeterminate", "malignant"] = Field(
        default="indeterminate",
        title="Actinic keratosis",
        description="What `ak` counts as, and `akiec` where no table says which it is: `indeterminate`, as in the ISIC "
        "Archive, is the class unknown.",
        json_schema_extra={"section": "Data"},
    )
    max_image_pixels: int = Field(
        default=100_000_000,
        ge=50_176,
        title="Largest image (pixels)",
        description="An image of more pixels is refused by its header, before it is decoded. The largest in the ISIC "
        "Archive have about 24 million; a bound keeps a decompression bomb from taking the machine's memory.",
        json_schema_extra={"section": "Data"},
    )
    min_image_side: int = Field(
        default=32,
        ge=1,
        le=IMAGE_SIDE,
        title="Smallest side (pixels)",
        description="An image with a shorter side is refused: enlarged to 224 it shows nothing.",
        json_schema_extra={"section": "Data"},
    )
    near_duplicates: bool = Field(
        default=True,
        title="Near-duplicates",
        description="Find pictures that are another's copy: compressed again, resized, turned, mirrored or cropped by a "
        "few per cent. They share its side of the split. Equal files do so in any case.",
        json_schema_extra={"section": "Data"},
    )
    jpeg_quality: int = Field(
        default=95,
        ge=50,
        le=100,
        title="JPEG quality",
        description="Of processed and augmented images. At 95 the error of the second compression stays under one "
        "grey level on average.",
        json_schema_extra={"section": "Data"},
    )

    max_refused_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Largest share of refused images",
        description="Of the image files, all of them and those of this night: more means a broken copy, mount or table "
        "rather than a few bad pictures. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    max_unmapped_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Largest share of unmapped diagnoses",
        description="Of the accepted images, those whose diagnosis is not recognised and counts as unknown: more means "
        "another vocabulary or the wrong column. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    require_classes: bool = Field(
        default=True,
        title="Require the classes",
        description="Fail without a benign or without a malignant image, which training needs, and when a class that the "
        "accepted catalog had is gone.",
        json_schema_extra={"section": "Data checks"},
    )
    max_lost_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Largest share of lost images",
        description="Of the images of the last accepted catalog, those that are gone or now refused: more means a lost "
        "folder or a truncated table. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    max_relabelled_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Largest share of changed classes",
        description="Of the images of the last accepted catalog, those that have another class now: a column that slipped "
        "by a row changes many and leaves the proportions as they were. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    max_class_shift: float = Field(
        default=0.15,
        ge=0,
        le=1,
        title="Largest shift of a class's share",
        description="Within a source, against the last accepted catalog, beyond what chance explains. HAM10000 in five "
        "steps in the order of its table, which is sorted by diagnosis, moves by 0.14. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    max_image_shift: float = Field(
        default=0.65,
        ge=0,
        le=1,
        title="Largest shift of the pictures",
        description="Within a source, of brightness, contrast, colours, size and aspect: the Kolmogorov-Smirnov distance "
        "of the new images to the accepted ones, beyond what chance explains. In 300 images, swapped colours "
        "or 30 % less light or blue give 0.78 or more; HAM10000's own parts differ by up to 0.64. 1 switches the check off.",
        json_schema_extra={"section": "Data checks"},
    )
    min_images_checked: int = Field(
        default=50,
        ge=10,
        le=100_000,
        title="Fewest images judged",
        description="Of fewer images than this no share and no distribution is judged: a small night must not fire.",
        json_schema_extra={"section": "Data checks"},
    )
    accept_data_changes: bool = Field(
        default=False,
        title="Accept the data's changes",
        description="For one run by hand: what the checks find is reported and does not stop the run; its data is what "
        "later runs are compared with.",
        json_schema_extra={"section": "Data checks"},
    )

    copies: int = Field(
        default=1,
        ge=0,
        le=20,
        title="Augmented copies",
        description="Augmentor's copies of each training image; held-out images get none.",
        json_schema_extra={"section": "Augmentation"},
    )
    rotation_probability: float = Field(
        default=0.7, ge=0, le=1, title="Rotation probability", json_schema_extra={"section": "Augmentation"}
    )
    rotation_degrees: int = Field(
        default=10,
        ge=0,
        le=25,
        title="Largest rotation (degrees)",
        description="To either side. Augmentor crops the corners away, which costs more of the image as it grows.",
        json_schema_extra={"section": "Augmentation"},
    )
    flip_probability: float = Field(
        default=0.5,
        ge=0,
        le=1,
        title="Flip probability",
        description="Left-right and top-bottom, each. A dermoscopic image has no up.",
        json_schema_extra={"section": "Augmentation"},
    )
    zoom_probability: float = Field(
        default=0.5, ge=0, le=1, title="Zoom probability", json_schema_extra={"section": "Augmentation"}
    )
    zoom_factor: float = Field(
        default=1.25,
        ge=1,
        le=3,
        title="Largest zoom",
        description="Factor; 1.25 keeps the middle 64 % of the area.",
        json_schema_extra={"section": "Augmentation"},
    )
    brightness_probability: float = Field(
        default=0.5, ge=0, le=1, title="Brightness probability", json_schema_extra={"section": "Augmentation"}
    )
    brightness_range: float = Field(
        default=0.3,
        ge=0,
        le=0.9,
        title="Brightness change",
        description="Largest relative change, to either side.",
        json_schema_extra={"section": "Augmentation"},
    )

    weights: str = Field(
        default="imagenet",
        min_length=1,
        title="Backbone weights",
        description="`imagenet` (Keras's file, from its cache or by download), the path of a .h5 file in Keras's layout "
        "without top, or `random`.",
        json_schema_extra={"section": "Model"},
    )
    dense_units: int = Field(default=128, ge=4, le=4096, title="Dense units", json_schema_extra={"section": "Model"})
    dropout: float = Field(default=0.5, ge=0, lt=1, title="Dropout", json_schema_extra={"section": "Model"})

    loader: Literal["stored-activations", "image-data-generator"] = Field(
        default="stored-activations",
        title="Training way",
        description="`stored-activations` trains above the frozen part from what embed stored; `image-data-generator` is "
        "the plain way: Keras's ImageDataGenerator feeds the whole network in every epoch.",
        json_schema_extra={"section": "Training"},
    )
    fine_tune: Literal["none", "tail", "full"] = Field(
        default="tail",
        title="Fine-tuning",
        description="`none` trains the head alone, `tail` the head, then the layers above the cut, `full` the head, then "
        "the whole network (slow: every image goes through every layer in every epoch).",
        json_schema_extra={"section": "Training"},
    )
    cut: Literal[CUT_LAYERS] = Field(  # type: ignore[valid-type]
        default="block_6_project_BN",
        title="Cut layer",
        description="The last frozen layer when fine-tuning the tail. Later is faster and learns less.",
        json_schema_extra={"section": "Training"},
    )
    stored_ways: int = Field(
        default=8,
        ge=1,
        le=8,
        title="Ways to lay a picture",
        description="Turned by quarters and mirrored: in so many ways embed stores the activations of each training file; "
        "an epoch takes one. More cost space and embed's time, and none while training.",
        json_schema_extra={"section": "Training"},
    )
    epochs: int = Field(
        default=16,
        ge=1,
        le=500,
        title="Epochs",
        description="Of fine-tuning; of the head where nothing is fine-tuned.",
        json_schema_extra={"section": "Training"},
    )
    head_epochs: int = Field(
        default=10,
        ge=0,
        le=500,
        title="Head epochs",
        description="Of the head alone before fine-tuning, so that random head weights do not wreck the tail.",
        json_schema_extra={"section": "Training"},
    )
    batch_size: int = Field(
        default=64,
        ge=1,
        le=4096,
        title="Batch size",
        description="At most; with fewer than 20 such batches an epoch, smaller ones are taken.",
        json_schema_extra={"section": "Training"},
    )
    learning_rate: float = Field(
        default=3e-4,
        gt=0,
        le=1,
        title="Learning rate",
        description="Peak, of AdamW when fine-tuning: one epoch's warm-up, then a cosine. The head alone takes ten times "
        "as much.",
        json_schema_extra={"section": "Training"},
    )
    weight_decay: float = Field(
        default=1e-4, ge=0, le=1, title="Weight decay", json_schema_extra={"section": "Training"}
    )
    label_smoothing: float = Field(
        default=0.05, ge=0, lt=1, title="Label smoothing", json_schema_extra={"section": "Training"}
    )
    class_weighting: Literal["none", "sqrt-inverse", "inverse"] = Field(
        default="sqrt-inverse",
        title="Class weighting",
        description="Of the loss by class frequency. The root is the compromise between rare classes and calibration.",
        json_schema_extra={"section": "Training"},
    )
    diagnosis_share: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        title="Share of the diagnoses",
        description="Of the loss, of a second head that learns the diagnoses behind the three classes (mel, bcc, nv, ...) "
        "and is thrown away after training. There is none where the labels name no finer diagnoses, and none with the "
        "loader `image-data-generator`.",
        json_schema_extra={"section": "Training"},
    )
    warm_start: bool = Field(
        default=False,
        title="Warm start",
        description="Go on from the model in service when only a few images are new. Scheduled runs do. Never from a model "
        "that learnt an image which is no longer training data.",
        json_schema_extra={"section": "Training"},
    )
    warm_start_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Largest share of new images",
        description="With more new training images than this since the last start from the built model, a warm start "
        "gives way to a training from it.",
        json_schema_extra={"section": "Training"},
    )
    warm_epochs: int = Field(
        default=2,
        ge=1,
        le=500,
        title="Warm epochs",
        description="Of a warm start; each takes all new images and 2,048 of the others.",
        json_schema_extra={"section": "Training"},
    )
    inner_fold_fraction: float = Field(
        default=0.1,
        gt=0,
        le=0.5,
        title="Inner fold",
        description="Share of the training lesions that early stopping looks at. The held-out lesions take no part.",
        json_schema_extra={"section": "Training"},
    )
    patience: int = Field(
        default=10,
        ge=1,
        le=500,
        title="Patience (epochs)",
        description="Training stops after so many epochs without better figures on the inner fold (the "
        "malignant AUROC and the mean AUROC of the classes).",
        json_schema_extra={"section": "Training"},
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        title="Seed",
        description="Of augmentation, initial weights, dropout and shuffling. The split does not depend on it.",
        json_schema_extra={"section": "Training"},
    )

    target_sensitivity: float = Field(
        default=0.95,
        ge=0.5,
        le=0.999,
        title="Sensitivity for malignant",
        description="Share of the malignant that the decision must find; its threshold is set for it on the inner fold.",
        json_schema_extra={"section": "Decision"},
    )
    coverage: float = Field(
        default=0.95,
        gt=0.5,
        le=1,
        title="Answered share",
        description="Share of the inner fold that is answered; for the rest the model is not sure enough, or the image is "
        "unlike the training images. 1: no image is left unanswered for want of confidence.",
        json_schema_extra={"section": "Decision"},
    )
    prediction_views: ViewCount = Field(
        default=1,
        title="Views of an image",
        description="Flips that a prediction averages over. Two take twice as long, four times four.",
        json_schema_extra={"section": "Decision"},
    )

    robustness_lesions: int = Field(
        default=300,
        ge=0,
        le=10_000,
        title="Robustness: lesions",
        description="On so many held-out lesions, one image each, evaluate also measures what rotation, light, blur, JPEG "
        "quality and scale do to the figures: 17 more looks at each image. 0: not measured.",
        json_schema_extra={"section": "Evaluation"},
    )

    gate_balanced_accuracy_margin: float = Field(
        default=0.08,
        ge=0,
        le=1,
        title="Gate: balanced accuracy, margin",
        description="A candidate must be shown to be not worse than the model in service by more than this, on the same "
        "held-out lesions. 1 switches the criterion off.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_sensitivity_margin: float = Field(
        default=0.08,
        ge=0,
        le=1,
        title="Gate: sensitivity, margin",
        description="The same of the sensitivity for malignant, each model at its own operating point. 1 switches the "
        "criterion off.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_confidence: float = Field(
        default=0.9,
        ge=0.5,
        le=0.999,
        title="Gate: confidence",
        description="Of the one-sided bounds that are compared with the margins. With few held-out lesions bounds are wide "
        "and little passes; 0.5 compares the difference itself.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_min_auroc: float = Field(
        default=0.8,
        ge=0,
        le=1,
        title="Gate: lowest malignant AUROC",
        description="Whatever is in service, and of the first model too.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_min_sensitivity: float = Field(
        default=0.8,
        ge=0,
        le=1,
        title="Gate: lowest sensitivity",
        description="For malignant, at the operating point; of the first model too.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_max_calibration_error: float = Field(
        default=0.1,
        ge=0,
        le=1,
        title="Gate: largest calibration error",
        description="Expected calibration error beyond what chance gives on so many images; of the first model too.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_max_file_difference: float = Field(
        default=1e-4,
        ge=0,
        le=1,
        title="Gate: largest difference of the files",
        description="Of probabilities between a version's .h5, .keras and .tflite, each loaded anew.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_max_latency: float = Field(
        default=500,
        gt=0,
        le=60_000,
        title="Gate: slowest prediction (ms)",
        description="Median for one image on one core of this machine, all its views.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_max_size: float = Field(
        default=100,
        gt=0,
        le=10_000,
        title="Gate: largest model (MB)",
        description="What is put in service, .h5 and .tflite together.",
        json_schema_extra={"section": "Promotion"},
    )
    gate_require_data_checks: bool = Field(
        default=True,
        title="Gate: require the data checks",
        description="The version's data passed its checks, or a person accepted what they found.",
        json_schema_extra={"section": "Promotion"},
    )
    require_approval: bool = Field(
        default=False,
        title="Require approval",
        description="A version that passes the gate waits until a person says yes.",
        json_schema_extra={"section": "Promotion"},
    )
    approval_hours: float = Field(
        default=12,
        gt=0,
        le=720,
        title="Wait for approval (hours)",
        description="No answer by then means no.",
        json_schema_extra={"section": "Promotion"},
    )
    keep_versions: int = Field(
        default=30,
        ge=2,
        le=100_000,
        title="Versions kept",
        description="So many of the last versions keep their files, and every one that was ever in service.",
        json_schema_extra={"section": "Promotion"},
    )

    drop_folder: OptionalText = Field(
        default="",
        title="Drop folder",
        description="Images and CSV tables are moved from here into the data set as soon as they are complete. Empty: none.",
        json_schema_extra={"section": "Sources"},
    )
    drop_settle_seconds: int = Field(
        default=60,
        ge=0,
        le=86_400,
        title="Drop folder: settle (seconds)",
        description="A file is left alone until nothing has changed about it for so long.",
        json_schema_extra={"section": "Sources"},
    )
    object_store: OptionalText = Field(
        default="",
        pattern=STORE,
        title="Object store",
        description="A prefix, such as s3://bucket/prefix or gs://bucket/prefix; its images and CSV tables are copied. "
        "Credentials come from the environment; without any, the bucket is read as a public one. Empty: none.",
        json_schema_extra={"section": "Sources", "pattern": STORE},
    )
    object_store_endpoint: OptionalText = Field(
        default="",
        pattern=f"^$|{ADDRESS}",
        title="Object store: endpoint",
        description="Address of an S3 or GCS server that is not Amazon's or Google's. Empty: theirs.",
        json_schema_extra={"section": "Sources", "pattern": f"^$|{ADDRESS}"},
    )
    isic_query: OptionalText = Field(
        default="",
        title="ISIC Archive: query",
        description='Images of the ISIC Archive to download, in its search language: diagnosis_1:"Malignant" AND '
        "image_type:dermoscopic. Empty, and no collections: none.",
        json_schema_extra={"section": "Sources"},
    )
    isic_collections: OptionalText = Field(
        default="",
        pattern=COLLECTIONS,
        title="ISIC Archive: collections",
        description="Numbers of collections, separated by commas; with a query, the images of these that it finds.",
        json_schema_extra={"section": "Sources", "pattern": COLLECTIONS},
    )
    isic_address: str = Field(
        default="https://api.isic-archive.com",
        pattern=ADDRESS,
        title="ISIC Archive: address",
        json_schema_extra={"section": "Sources"},
    )
    challenge_address: str = Field(
        default="https://isic-challenge-data.s3.amazonaws.com",
        pattern=ADDRESS,
        title="ISIC challenge data: address",
        description="Where `skinlesion fetch` finds ISIC 2018 and 2019.",
        json_schema_extra={"section": "Sources"},
    )
    dataverse_address: str = Field(
        default="https://dataverse.harvard.edu",
        pattern=ADDRESS,
        title="Dataverse: address",
        description="Where `skinlesion fetch` finds HAM10000.",
        json_schema_extra={"section": "Sources"},
    )
    connections: int = Field(
        default=8,
        ge=1,
        le=64,
        title="Downloads at once",
        description="From an object store.",
        json_schema_extra={"section": "Sources"},
    )
    network_timeout: int = Field(
        default=60,
        ge=1,
        le=3600,
        title="Network: time-out (seconds)",
        description="A server that says nothing for so long has failed.",
        json_schema_extra={"section": "Sources"},
    )
    network_attempts: int = Field(
        default=5,
        ge=1,
        le=20,
        title="Network: attempts",
        description="Before a file counts as failed. Of a zip that arrives in pieces, each new piece starts the count anew.",
        json_schema_extra={"section": "Sources"},
    )
    ingest_wait: int = Field(
        default=60,
        ge=0,
        le=7200,
        title="Wait for another ingest (seconds)",
        description="Two ingests of one data set work one after the other; the second fails when it waited so long.",
        json_schema_extra={"section": "Sources"},
    )

    shards: int = Field(
        default=1,
        ge=1,
        le=64,
        title="Shards",
        description="Over how many mapped tasks examine, resize, augment and embed spread, and the prediction of a folder.",
        json_schema_extra={"section": "Running"},
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=256,
        title="Workers",
        description="Threads or processes a stage uses; 0 takes every core this process may use.",
        json_schema_extra={"section": "Running"},
    )
    force: bool = Field(
        default=False,
        title="Force",
        description="Do everything again, also what is up to date.",
        json_schema_extra={"section": "Running"},
    )

    @field_validator("dataset", "models")
    @classmethod
    def _from_project_root(cls, path: Path) -> Path:
        return path if path.is_absolute() else PROJECT_ROOT / path

    @field_validator("weights")
    @classmethod
    def _weights_known(cls, weights: str) -> str:
        if weights not in ("imagenet", "random") and not weights.endswith(".h5"):
            raise ValueError("expected `imagenet`, `random`, or the path of a .h5 file")
        return weights

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Give the config with these settings over the environment's and the defaults.

        Values may be strings (`--set epochs=3`). Raises `DataError` that names every setting that is wrong.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            raise DataError(describe_problems(error)) from None

    @property
    def drop_path(self) -> Path | None:
        """The drop folder, relative to the project as all paths; None where there is none."""
        return PROJECT_ROOT / self.drop_folder if self.drop_folder else None

    @property
    def stored_cut(self) -> str | None:
        """The layer whose activations embed stores and train reads; None where training reads the images themselves.

        With a frozen backbone one vector an image is enough; that is also where full fine-tuning trains its head first.
        """
        if self.loader == "image-data-generator":
            return None
        return self.cut if self.fine_tune == "tail" else POOLED

    def workers_used(self) -> int:
        """Give the number of threads or processes a stage may use on this machine."""
        return self.workers or cores_allowed()

    def fingerprint(self, stage: str) -> str:
        """Give 16 hex digits that change when a setting or the code that the stage's result depends on changes."""
        settings = {name: getattr(self, name) for name in STAGE_SETTINGS[stage]}
        return fingerprint({"version": STAGE_VERSIONS.get(stage, 1), **settings})


def fingerprint(values: Any) -> str:
    """Give 16 hex digits of the SHA-256 of a JSON-able value, independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def describe_problems(error: ValidationError) -> str:
    """Give one sentence a problem: setting, what was expected, what was found."""
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "settings"
        if problem["type"] == "extra_forbidden":
            known = ", ".join(PipelineConfig.model_fields)
            lines.append(f"There is no setting `{name}`. Known settings: {known}.")
        else:
            lines.append(f"Setting `{name}`: {problem['msg']}; found {problem['input']!r}.")
    return "\n".join(lines)
