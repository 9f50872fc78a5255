"""The settings of the network: its initial weights and its head."""

from __future__ import annotations

from typing import Final

from pydantic import field_validator

from skinlesion.foundation.settings import RunSettings, setting

NAMED_WEIGHTS: Final = ("imagenet", "drawn", "random")
"""Initial weights that have a name: those that Keras offers, those that come with this package, and random ones."""

POOLED: Final = "global_average_pooling"
"""Name of the layer after the whole backbone, which pools an image to one vector of 1280 values."""

CUT_LAYERS: Final = (
    "block_6_project_BN",
    "block_9_add",
    "block_12_add",
    "block_13_project_BN",
    "block_14_add",
    "block_15_add",
    "block_16_project_BN",
)
"""Names of the layers of MobileNetV2 at which the frozen part may end: the last ones of its blocks from the sixth on."""


class ModelSettings(RunSettings):
    """The initial weights of the backbone and the size of the head."""

    section = "Model"

    weights: str = setting(
        "imagenet",
        "Backbone weights",
        "`imagenet` (Keras's file, from its cache or by download), `drawn` (trained on drawn pictures alone; they come with "
        "this package and need no network), `random`, or the path of a .h5 file in Keras's layout without top. A run of the "
        "DAG may choose the path that the installation names, and no other.",
        min_length=1,
    )
    dense_units: int = setting(
        128, "Dense units", "Width of the head's Dense layer.", makes_stale=("build",), ge=4, le=4096
    )
    dropout: float = setting(
        0.5, "Dropout", "Share of the Dense layer's outputs that training drops.", makes_stale=("build",), ge=0, lt=1
    )

    @field_validator("weights")
    @classmethod
    def _weights_known(cls, weights: str) -> str:
        if weights not in NAMED_WEIGHTS and not weights.endswith(".h5"):
            raise ValueError("expected `imagenet`, `drawn`, `random`, or the path of a .h5 file")
        return weights
