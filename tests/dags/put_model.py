"""Put an untrained classifier in service as version 7. Called by test_predict_run.py: `python put_model.py MODELS`.

A process of its own: TensorFlow stays out of the one that parses DAGs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.network import quiet_tensorflow
from skinlesion.prediction.decision import DecisionRule
from skinlesion.registry import in_service, model_files
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.model_files import RULE_FILE
from skinlesion.registry.release import name_release_files, put_in_service, write_record
from skinlesion.stages.settings import PipelineConfig

RULE = DecisionRule(
    temperature=1.0,
    views=1,
    malignant_threshold=0.2,
    target_sensitivity=0.95,
    least_confidence=0.0,
    coverage=1.0,
    most_distance=None,
    class_shares=(0.4, 0.3, 0.3),
)


def put(models: Path) -> None:
    """Make a release and let it be in service."""
    quiet_tensorflow.load()
    from skinlesion.network.backbone import BackboneWeights
    from skinlesion.network.classifier import build_classifier, save_model
    from skinlesion.network.litert import convert_to_litert

    release = layout.releases(models) / "000001"
    release.mkdir(parents=True)
    classifier = build_classifier(PipelineConfig.of({"weights": "random"}), BackboneWeights(None, "random0"))
    save_model(classifier, release / model_files.H5)
    convert_to_litert(classifier, release / model_files.TFLITE)
    RULE.write(release / RULE_FILE)
    entry = HistoryEntry(
        at="2026-11-25T02:00:00+00:00", what="promoted", actor="test", version=7, reason="test", switch=1
    )
    sha256 = {name: sha256_of(release / name) for name in (model_files.H5, model_files.TFLITE)}
    write_record(
        release,
        in_service.InService(run="untrained", sha256=sha256, decision_rule=RULE.model_dump(mode="json"), entry=entry),
    )
    put_in_service(models, release)
    name_release_files(models)


if __name__ == "__main__":
    put(Path(sys.argv[1]))
