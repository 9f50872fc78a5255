"""Train: train the head, then the layers above the cut, on the training lesions, and write the candidate."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydantic import JsonValue

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import training_rows, trusted_manifest, version
from skinlesion.foundation import atomic
from skinlesion.foundation.regular_file import set_aside
from skinlesion.foundation.settings import PROJECT_ROOT
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network import quiet_tensorflow
from skinlesion.network.accelerator import tensorflow_installed
from skinlesion.network.built_model import BuiltModel, require_built_model
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.model_files import (
    CHANGE_RECORD,
    CHANGE_RECORD_PAGE,
    GALLERY,
    MODEL_CARD,
    REGISTERED,
    REPORT,
    VERDICT,
)
from skinlesion.registry.training_record import InnerFold, TrainingRecord
from skinlesion.registry.versions import splits_known
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.divergence import require_numbers
from skinlesion.training.warm_start import (
    WarmStart,
    candidate_to_train,
    origin,
    write_learnt_pictures,
    write_trained_on,
)

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from skinlesion.data.split_version import SplitVersion
    from skinlesion.network.feature_distance import FeatureDistance
    from skinlesion.training.phases import TrainingSet

log = logging.getLogger(__name__)

PARITY: Final = 1e-4
"""Largest difference allowed between the probabilities of the trained model and those of each of its files."""

SAID_OF_VERSIONS: Final = (REGISTERED, VERDICT, CHANGE_RECORD, CHANGE_RECORD_PAGE, REPORT, GALLERY, MODEL_CARD)

_IMAGES_COMPARED: Final = 8
"""Number of images on which the model and its files are compared."""


def train(config: PipelineConfig) -> StageReport:
    """Train the candidate of this data and these settings unless it is complete. An interrupted training is continued.

    The same data, settings and seed result in bit-identical weights on the same machine.
    """
    watch = Stopwatch()
    manifest, split = trusted_manifest(config.dataset, splits_known(config.models))
    rows = training_rows(manifest)
    built = require_built_model(config.models)
    candidate, warm = candidate_to_train(config, rows, built)
    atomic.remove_partials(candidate.folder.parent)
    atomic.settle_folder(candidate.folder)
    # What is damaged is what `force` makes anew.
    record = candidate.read_training() if not config.force else None
    is_current = record is not None
    if config.force:
        record = _train_beside(config, rows, split, built, candidate)
    elif record is None:
        record = _train(config, rows, split, built, candidate, warm)
    if candidate.backup.exists():  # perhaps of a training that was killed after its record was written
        shutil.rmtree(candidate.backup)
    details: dict[str, JsonValue] = {
        "run": candidate.run,
        "epochs": len(record.history),
        "warm_start": record.warm_start.model_dump() if record.warm_start is not None else None,
        "warnings": list(record.warnings),
    }
    return watch.report(
        "train",
        seen=len(rows),
        done=0 if is_current else len(rows),
        details=details,
    )


def _train_beside(
    config: PipelineConfig, rows: pd.DataFrame, split: SplitVersion, built: BuiltModel, candidate: Candidate
) -> TrainingRecord:
    """Train the candidate anew elsewhere, then let it take the place of what is there, which may be a registered version.

    What was measured of the candidate stays with it if the new model is the same, byte for byte; what was said of versions
    that this folder has held stays in any case.
    """
    with atomic.replacing_folder(candidate.folder) as folder:
        record = _train(config, rows, split, built, Candidate(folder), None)
        is_same = candidate.digests() == record.sha256
        for path in candidate.folder.iterdir() if candidate.folder.is_dir() else ():
            if path.is_file() and (is_same or path.name in SAID_OF_VERSIONS) and not (folder / path.name).exists():
                shutil.copy2(path, folder / path.name)
    return record


def _train(
    config: PipelineConfig,
    rows: pd.DataFrame,
    split: SplitVersion,
    built: BuiltModel,
    candidate: Candidate,
    warm: WarmStart | None,
) -> TrainingRecord:
    quiet_tensorflow.load()
    import keras
    import tensorflow as tf

    from skinlesion.training.calibration import calibrate
    from skinlesion.training.fit import train_network
    from skinlesion.training.inner_fold import choose_inner_fold
    from skinlesion.training.phases import TrainingSet, class_weights

    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    inner = choose_inner_fold(rows, config.inner_fold_fraction)
    if warm is not None:
        inner = warm.inner_fold(rows, inner)
    data = TrainingSet(rows, inner, class_weights(rows, config.class_weighting), warm)
    warnings = _warnings(data)
    model, history = train_network(config, built, data, candidate.backup)
    images = _some_images(config, data)
    require_numbers(np.asarray(model(images.astype(np.float32), training=False)))
    rule, distance = calibrate(config, model, data)
    _export(model, candidate, images, distance)
    rule.write(candidate.decision_rule)
    trained_on = write_trained_on(candidate, rows, inner, warm)
    write_learnt_pictures(config.dataset, candidate)
    record = TrainingRecord(
        run=candidate.run,
        origin=origin(config, built),
        warm_start=warm.record if warm is not None else None,
        settings=config.model_dump(mode="json", exclude={"dataset", "models", "shards", "workers", "force"}),
        training_version=version(rows),
        split=split,
        trained_on=trained_on,
        weights_key=built.weights_key,
        classes=LABELS,
        images=int((rows["copy"] == 0).sum()),
        lesions=int(rows["group"].nunique()),
        inner_fold=InnerFold(images=len(data.inner_positions), lesions=int(rows["group"][data.inner].nunique())),
        class_weights={label: round(float(w), 6) for label, w in zip(LABELS, data.class_weights, strict=True)},
        history=tuple(history),
        warnings=(*warnings, *rule.warnings),
        packages={**tensorflow_installed(), **{name: version_of(name) for name in ("keras", "numpy", "Augmentor")}},
        git_revision=_git_revision(),
        sha256=candidate.digests(),
    )
    record.write(candidate.training)
    return record


def _some_images(config: PipelineConfig, data: TrainingSet) -> npt.NDArray[np.uint8]:
    """Return a few training images, RGB (n, 224, 224, 3), on which the model and its files are compared."""
    from skinlesion.data.training_view import view_files

    some = data.rows[data.rows["copy"] == 0].head(_IMAGES_COMPARED)
    return np.stack([file.read() for file in view_files(config.dataset, some)])


def _export(
    model: keras.Model, candidate: Candidate, images: npt.NDArray[np.uint8], distance: FeatureDistance | None
) -> None:
    """Write the model's three files, each compared with the model in memory. The .tflite file computes distances as well."""
    from skinlesion.network.classifier import load_classifier, save_model
    from skinlesion.network.feature_distance import with_distance
    from skinlesion.network.litert import LiteRTModel, convert_to_litert

    expected = np.asarray(model(images.astype(np.float32), training=False))
    for path in (candidate.h5, candidate.keras):
        save_model(model, path)
        loaded = load_classifier(path)
        _require_parity(path.name, expected, np.asarray(loaded(images.astype(np.float32), training=False)))
    set_aside(candidate.feature_distance)
    candidate.feature_distance.unlink(missing_ok=True)
    if distance is not None:
        distance.write(candidate.feature_distance)
    convert_to_litert(model if distance is None else with_distance(model, distance), candidate.tflite)
    litert = LiteRTModel(candidate.tflite)
    _require_parity(candidate.tflite.name, expected, np.stack([litert(image) for image in images]))


def _require_parity(name: str, expected: npt.NDArray[np.float32], found: npt.NDArray[np.float32]) -> None:
    difference = float(np.abs(expected - found).max())
    if not difference <= PARITY:  # nor where it is not a number
        raise RuntimeError(f"The probabilities of {name} differ from those of the trained model by {difference:.2g}")


def _warnings(data: TrainingSet) -> list[str]:
    """Return and log what a reader of the result must know about the training data, in sentences."""
    sentences = []
    for label in LABELS:
        lesions = data.rows.loc[data.rows["label"] == label, "group"].nunique()
        if lesions == 0:
            sentences.append(f"No training image is of class {label}: the model never learnt it.")
        elif lesions < 2:
            sentences.append(f"Class {label} has a single training lesion: early stopping cannot measure the class.")
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
