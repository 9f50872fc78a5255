"""The settings of the decision: what training aims at when it sets a model's operating point."""

from __future__ import annotations

from skinlesion.data.settings import DataSettings
from skinlesion.foundation.settings import setting


class DecisionSettings(DataSettings):
    """The operating point, and for how many images there is an answer."""

    section = "Decision"

    target_sensitivity: float = setting(
        0.95,
        "Sensitivity for malignant",
        "Share of the malignant images that the decision must find. The threshold for it is set on the inner fold.",
        makes_stale=("train",),
        ge=0.5,
        le=0.999,
    )
    coverage: float = setting(
        0.95,
        "Answered share",
        "Share of the inner fold's images that get an answer. The others get none, because the model is not sure enough or "
        "because the image is unlike the training images. With 1, no image is left without an answer for lack of confidence.",
        makes_stale=("train",),
        gt=0.5,
        le=1,
    )
