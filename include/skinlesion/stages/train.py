"""Train: the head, then the layers above the cut, on the training lesions; writes the candidate."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import read_manifest, require_clean_split, training_rows, version
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import PROJECT_ROOT, PipelineConfig
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network import quiet_tensorflow
from skinlesion.network.built_model import BuiltModel, require_built_model
from skinlesion.registry.candidate import Candidate
from skinlesion.training.warm_start import WarmStart, candidate_to_train, origin, write_trained_on

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from skinlesion.network.feature_distance import FeatureDistance
    from skinlesion.training.phases import Phase, TrainingSet

log = logging.getLogger(__name__)

PARITY: Final = 1e-4
"""Largest difference of probabilities between the model in memory and each of its files."""

_IMAGES_COMPARED: Final = 8


def train(config: PipelineConfig) -> StageReport:
    """Train the candidate that data and settings lead to, unless it is there; go on with one that was interrupted.

    The same data, settings and seed give bit-identical weights on the same machine.
    """
    watch = Stopwatch()
    manifest = read_manifest(config.dataset)
    require_clean_split(manifest)
    rows = training_rows(manifest)
    built = require_built_model(config.models)
    candidate, warm = candidate_to_train(config, rows, built)
    record = candidate.read_training()
    is_current = record is not None and not config.force
    if not is_current:
        if config.force:
            shutil.rmtree(candidate.folder, ignore_errors=True)
        record = _train(config, rows, built, candidate, warm)
    assert record is not None
    history = record["history"]
    details = {
        "run": candidate.run,
        "epochs": len(history),
        "warm_start": record["warm_start"],
        "warnings": record["warnings"],
    }
    return StageReport(
        stage="train",
        seen=len(rows),
        done=0 if is_current else len(rows),
        skipped=len(rows) if is_current else 0,
        refused=0,
        seconds=watch.seconds(),
        details=details,
    )


def _train(
    config: PipelineConfig, rows: pd.DataFrame, built: BuiltModel, candidate: Candidate, warm: WarmStart | None
) -> dict[str, Any]:
    quiet_tensorflow.load()
    import keras
    import tensorflow as tf

    from skinlesion.network.classifier import load_classifier
    from skinlesion.training.calibration import calibrate
    from skinlesion.training.inner_fold import choose_inner_fold
    from skinlesion.training.phases import (
        TrainingSet,
        class_weights,
        phases_from_activations,
        phases_from_image_data_generator,
    )

    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    inner = choose_inner_fold(rows, config.inner_fold_fraction)
    if warm is not None:
        inner = warm.inner_fold(rows, inner)
    data = TrainingSet(rows, inner, class_weights(rows, config.class_weighting), warm)
    warnings = _warnings(data)
    model = load_classifier(warm.champion.h5 if warm is not None else layout.built_model(config.models))
    if config.loader == "image-data-generator":
        phases = phases_from_image_data_generator(config, model, data)
    else:
        phases = phases_from_activations(config, model, built, data)
    history: list[dict[str, Any]] = []
    for number, make_phase in enumerate(phases, start=1):
        history += _fit(config, model, make_phase, candidate, number)
    images = _some_images(config, data)
    _require_numbers(model, images, config)
    rule, distance = calibrate(config, model, data)
    _export(model, candidate, images, distance)
    rule.write(candidate.decision_rule)
    write_trained_on(candidate, rows, inner)
    record = {
        "run": candidate.run,
        "origin": origin(config, built),
        "warm_start": warm.record() if warm is not None else None,
        "settings": config.model_dump(mode="json", exclude={"dataset", "models", "shards", "workers", "force"}),
        "training_version": version(rows),
        "weights_key": built.weights_key,
        "classes": list(LABELS),
        "images": int((rows["copy"] == 0).sum()),
        "lesions": int(rows["group"].nunique()),
        "inner_fold": {"images": len(data.inner_positions), "lesions": int(rows["group"][data.inner].nunique())},
        "class_weights": {label: round(float(w), 6) for label, w in zip(LABELS, data.class_weights, strict=True)},
        "history": history,
        "warnings": [*warnings, *rule.warnings],
        "packages": {name: package_version(name) for name in ("tensorflow-cpu", "keras", "numpy", "Augmentor")},
        "git_revision": _git_revision(),
        "sha256": candidate.digests(),
    }
    atomic.write_text(candidate.training, json.dumps(record, indent=1))
    shutil.rmtree(candidate.backup, ignore_errors=True)
    return record


def _fit(
    config: PipelineConfig, model: keras.Model, make_phase: Any, candidate: Candidate, number: int
) -> list[dict[str, Any]]:
    """Run one phase, or what is left of it, and give its history; the model then has the weights of its best epoch."""
    import keras

    from skinlesion.network.classifier import seed_dropout, set_trainable
    from skinlesion.training.folded import FoldedPart
    from skinlesion.training.inner_fold import measure_inner_fold
    from skinlesion.training.resumable import ResumableTraining

    folder = candidate.backup / f"phase-{number}"
    phase: Phase = make_phase()
    set_trainable(model, from_layer=phase.trainable_from)
    folded = FoldedPart(phase.part)
    training = ResumableTraining(
        folder,
        measure=lambda part: measure_inner_fold(part, phase.inner_fold),
        patience=config.patience,
        epochs=phase.epochs,
        phase=phase.name,
    )
    if not training.finished:
        _compile(folded.model, phase, config)
        with progress("train", phase.epochs, unit="epochs") as advance:
            advance(training.state["epoch"])

            def start_epoch(epoch: int, logs: Any) -> None:
                phase.training.start_epoch(epoch)
                seed_dropout(folded.model, [config.seed, number, epoch])

            order = keras.callbacks.LambdaCallback(
                on_epoch_begin=start_epoch,
                on_epoch_end=lambda epoch, logs: advance(1),
            )
            folded.model.fit(phase.training, epochs=phase.epochs, verbose=0, shuffle=False, callbacks=[training, order])
    training.load_best(folded.model)
    folded.unfold()
    history: list[dict[str, Any]] = training.state["history"]
    return history


def _compile(part: keras.Model, phase: Phase, config: PipelineConfig) -> None:
    """AdamW, one epoch of warm-up, then a cosine to near nothing; see docs for where these figures come from."""
    import keras

    steps = max(1, len(phase.training))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=phase.learning_rate / 10,
        decay_steps=max(1, steps * (phase.epochs - 1)),
        alpha=0.03,
        warmup_target=phase.learning_rate,
        warmup_steps=steps,
    )
    optimizer = keras.optimizers.AdamW(
        schedule,
        weight_decay=config.weight_decay,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=1 - 1 / max(2, steps),  # about one epoch is averaged over
    )
    losses = [keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing) for _ in phase.loss_weights]
    part.compile(
        optimizer=optimizer,
        loss=losses if len(losses) > 1 else losses[0],
        loss_weights=list(phase.loss_weights) if len(losses) > 1 else None,
        jit_compile=False,  # XLA is ten times slower here on a CPU
    )


def _some_images(config: PipelineConfig, data: TrainingSet) -> npt.NDArray[np.uint8]:
    """Give a few training images, RGB (n, 224, 224, 3), that the model's files are compared on."""
    from skinlesion.data.training_view import view_files

    some = data.rows[data.rows["copy"] == 0].head(_IMAGES_COMPARED)
    return np.stack([file.read() for file in view_files(config.dataset, some)])


def _require_numbers(model: keras.Model, images: npt.NDArray[np.uint8], config: PipelineConfig) -> None:
    if not np.isfinite(np.asarray(model(images.astype(np.float32), training=False))).all():
        raise DataError(
            "Training diverged: the model's probabilities are not numbers. Lower `learning_rate` "
            f"(now {config.learning_rate:g})."
        )


def _export(
    model: keras.Model, candidate: Candidate, images: npt.NDArray[np.uint8], distance: FeatureDistance | None
) -> None:
    """Write the model's three files, each checked against the model in memory; LiteRT's gives the distance as well."""
    from skinlesion.network.classifier import load_classifier, save_model
    from skinlesion.network.feature_distance import with_distance
    from skinlesion.network.litert import LiteRTModel, convert_to_litert

    expected = np.asarray(model(images.astype(np.float32), training=False))
    for path in (candidate.h5, candidate.keras):
        save_model(model, path)
        loaded = load_classifier(path)
        _require_parity(path.name, expected, np.asarray(loaded(images.astype(np.float32), training=False)))
    candidate.feature_distance.unlink(missing_ok=True)
    if distance is not None:
        distance.write(candidate.feature_distance)
    convert_to_litert(model if distance is None else with_distance(model, distance), candidate.tflite)
    litert = LiteRTModel(candidate.tflite)
    _require_parity(candidate.tflite.name, expected, np.stack([litert(image) for image in images]))


def _require_parity(name: str, expected: Any, found: Any) -> None:
    difference = float(np.abs(expected - found).max())
    if difference > PARITY:
        raise RuntimeError(f"{name} gives probabilities that differ by {difference:.2g} from the trained model's")


def _warnings(data: TrainingSet) -> list[str]:
    """Say what a reader of the result must know about the training data."""
    sentences = []
    for label in LABELS:
        lesions = data.rows.loc[data.rows["label"] == label, "group"].nunique()
        if lesions == 0:
            sentences.append(f"No training image is of class {label}: the model never learnt it.")
        elif lesions < 2:
            sentences.append(f"Class {label} has a single training lesion: early stopping cannot look at the class.")
    for sentence in sentences:
        log.warning("%s", sentence)
    return sentences


def _git_revision() -> str:
    if built_from := os.environ.get("GIT_REVISION"):  # in a container image there is no git
        return built_from
    command = ["git", "-C", str(PROJECT_ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
