"""The backbone that comes with the package."""

from __future__ import annotations

import numpy as np
import pytest

from skinlesion.network.backbone import DRAWN_FILE, build_backbone, find_weights
from skinlesion.stages.settings import PipelineConfig


def test_drawn_weights_come_with_the_package_and_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("skinlesion.network.backbone._download", unreachable)
    weights = find_weights(PipelineConfig.of({"weights": "drawn"}))
    assert weights.path == DRAWN_FILE
    assert DRAWN_FILE.stat().st_size <= 5_000_000


def test_the_drawn_backbone_distinguishes_what_random_weights_confuse() -> None:
    """On lesions drawn with seeds of their own, the nearest photograph shows the same diagnosis."""
    import keras

    from skinlesion.data.sources.drawn.picture import draw_lesion, draw_view

    diagnoses = ("vasc", "nv", "mel", "bcc", "bkl")
    lesions = [draw_lesion(dx, np.random.default_rng((99, number)), 224) for number, dx in enumerate(diagnoses * 8)]
    pictures = np.stack(
        [draw_view(lesion, np.random.default_rng((98, number)), (224, 224)) for number, lesion in enumerate(lesions)]
    ).astype(np.float32)
    answers = np.arange(len(lesions)) % len(diagnoses)
    right = {}
    for name in ("drawn", "random"):
        backbone = build_backbone(find_weights(PipelineConfig.of({"weights": name})))
        pooled = keras.layers.GlobalAveragePooling2D()(backbone.output)
        found = keras.Model(backbone.inputs[0], pooled).predict(pictures, batch_size=8, verbose=0)
        found = (found - found.mean(0)) / (found.std(0) + 1e-6)
        distance = np.linalg.norm(found[:, None] - found[None], axis=2) + np.eye(len(found)) * 1e9
        right[name] = float((answers[distance.argmin(1)] == answers).mean())
    assert right["drawn"] > max(0.7, right["random"])
