"""Build: the classifier before training, models/skin_lesion_classifier.h5, and its frozen part in the format that embed runs."""

from __future__ import annotations

import logging

from skinlesion.foundation import layout
from skinlesion.foundation.checksum import sha256_of
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.regular_file import set_aside
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network import accelerator, quiet_tensorflow
from skinlesion.network.backbone import activations_folder, find_weights
from skinlesion.network.built_model import BuiltModel, read_built_model
from skinlesion.network.frozen_part import NAME as FROZEN_PART
from skinlesion.network.frozen_part import is_whole, write_frozen_part
from skinlesion.stages.settings import PipelineConfig

log = logging.getLogger(__name__)


def build(config: PipelineConfig) -> StageReport:
    """Write the untrained classifier unless there is one with the same weights and settings.

    For a CPU its frozen part is converted here rather than in embed. Embed then does not import TensorFlow, which saves time
    and three quarters of its memory.
    """
    watch = Stopwatch()
    weights = find_weights(config)
    key = fingerprint([weights.key, config.fingerprint("build")])
    path = layout.built_model(config.models)
    built = _read_built_model(config)
    is_current = built is not None and built.key == key and not config.force
    model = None
    if not is_current:
        quiet_tensorflow.load()
        from skinlesion.network.classifier import build_classifier, save_model

        model = build_classifier(config, weights)
        for file in (path, BuiltModel.path(config.models)):
            set_aside(file)
        save_model(model, path)
        record = BuiltModel(key=key, weights_key=weights.key, sha256=sha256_of(path))
        record.write(BuiltModel.path(config.models))
    if config.stored_cut is not None and not accelerator.is_there():
        folder = activations_folder(config.dataset, weights.key, config.stored_cut, config.stored_ways)
        frozen = folder / FROZEN_PART
        if config.force or not is_whole(frozen):
            is_current = False
            quiet_tensorflow.load()
            from skinlesion.network.classifier import load_classifier

            write_frozen_part(model or load_classifier(path), config.stored_cut, frozen)
    if config.weights == "random":
        log.warning("The weights of the backbone are random: a model trained on it is only good for trying things out")
    return watch.report(
        "build",
        seen=1,
        done=int(not is_current),
        details={"model": str(path), "weights": config.weights, "weights_key": weights.key},
    )


def _read_built_model(config: PipelineConfig) -> BuiltModel | None:
    """Return the record of the built model; None where there is none, or a damaged one, for the model is built anew then."""
    try:
        return read_built_model(config.models)
    except DataError as error:
        log.warning("build: %s It is written anew", error)
        return None
