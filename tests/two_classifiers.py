"""Two untrained classifiers with their decision rule, for tests that need a model which answers but not what it has learned."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from skinlesion.network import quiet_tensorflow
from skinlesion.registry import model_files
from skinlesion.registry.model_files import RULE_FILE
from skinlesion.stages.settings import PipelineConfig

RULE: dict[str, JsonValue] = {
    "version": 1,
    "temperature": 1.0,
    "malignant_threshold": 0.2,
    "target_sensitivity": 0.95,
    "least_confidence": 0.0,
    "coverage": 1.0,
    "most_distance": None,
    "class_shares": [0.4, 0.3, 0.3],
    "distance": None,
    "inner_fold": {},
    "warnings": [],
}
"""The decision rule of both versions, where a test asks for no other."""


def write_two_classifiers(folder: Path) -> None:
    """Write a/ and b/, each with .h5, .keras, .tflite and `RULE`: random weights, of which b gives the opposite of a."""
    quiet_tensorflow.load()
    from skinlesion.network.backbone import BackboneWeights
    from skinlesion.network.classifier import build_classifier, save_model
    from skinlesion.network.litert import convert_to_litert

    classifier = build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))
    head = classifier.get_layer("probabilities")
    kernel, bias = head.get_weights()
    for name, factor in (("a", 1.5), ("b", -1.5)):
        head.set_weights([factor * kernel, bias])
        (folder / name).mkdir()
        (folder / name / RULE_FILE).write_text(json.dumps(RULE))
        save_model(classifier, folder / name / model_files.H5)
        save_model(classifier, folder / name / "model.keras")
        convert_to_litert(classifier, folder / name / model_files.TFLITE)
