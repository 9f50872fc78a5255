"""All settings of a run: the sections of the rooms, joined; and the section of augmentation, which stages/augment.py reads."""

from __future__ import annotations

from typing import ClassVar, Final

from skinlesion.data.checks.settings import CheckSettings
from skinlesion.data.settings import DataSettings
from skinlesion.data.sources.settings import SourceSettings
from skinlesion.evaluation.in_use.settings import MonitorSettings
from skinlesion.evaluation.settings import EvaluationSettings
from skinlesion.foundation.settings import Folders, RunSettings, Settings, setting
from skinlesion.network.settings import ModelSettings
from skinlesion.prediction.settings import DecisionSettings
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.training.settings import TrainingSettings


class AugmentationSettings(DataSettings):
    """How Augmentor alters its copies of the training images."""

    section = "Augmentation"

    copies: int = setting(
        1,
        "Augmented copies",
        "Number of Augmentor's copies of each training image. Held-out images get none.",
        ge=0,
        le=20,
    )
    rotation_probability: float = setting(
        0.7, "Rotation probability", "Share of the copies that are rotated.", makes_stale=("augment",), ge=0, le=1
    )
    rotation_degrees: int = setting(
        10,
        "Largest rotation (degrees)",
        "Largest rotation to either side. Augmentor crops the corners away, which costs more of the image as it grows.",
        makes_stale=("augment",),
        ge=0,
        le=25,
    )
    flip_probability: float = setting(
        0.5,
        "Flip probability",
        "Share of the copies that are flipped left-right, and share that are flipped top-bottom. A dermoscopic image has no "
        "upper edge.",
        makes_stale=("augment",),
        ge=0,
        le=1,
    )
    zoom_probability: float = setting(
        0.5, "Zoom probability", "Share of the copies that are zoomed.", makes_stale=("augment",), ge=0, le=1
    )
    zoom_factor: float = setting(
        1.25,
        "Largest zoom",
        "Largest zoom factor; 1.25 keeps the middle 64 % of the area.",
        makes_stale=("augment",),
        ge=1,
        le=3,
    )
    brightness_probability: float = setting(
        0.5,
        "Brightness probability",
        "Share of the copies whose brightness changes.",
        makes_stale=("augment",),
        ge=0,
        le=1,
    )
    brightness_range: float = setting(
        0.3,
        "Brightness change",
        "Largest relative change of brightness, to either side.",
        makes_stale=("augment",),
        ge=0,
        le=0.9,
    )


class PipelineConfig(
    AugmentationSettings,
    CheckSettings,
    SourceSettings,
    TrainingSettings,
    EvaluationSettings,
    MonitorSettings,
    PromotionSettings,
):
    """All settings of a run. It is an instance of every section, so that a stage passes it on as the section it needs."""

    section: ClassVar[str] = ""


SECTIONS: Final[tuple[type[Settings], ...]] = (
    Folders,
    DataSettings,
    CheckSettings,
    AugmentationSettings,
    ModelSettings,
    TrainingSettings,
    DecisionSettings,
    EvaluationSettings,
    PromotionSettings,
    MonitorSettings,
    SourceSettings,
    RunSettings,
)
"""In the order in which people see them."""

SECTION_OF: Final[dict[str, str]] = {name: part.section for part in SECTIONS for name in part.own_fields()}
"""The heading of each setting, in the order in which people see the settings."""
