"""Training of a network: one phase after another, each of which leaves it with the weights of its best epoch."""

from __future__ import annotations

import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
from pydantic import JsonValue

from skinlesion.foundation import layout
from skinlesion.foundation.progress import progress
from skinlesion.network.built_model import BuiltModel
from skinlesion.network.classifier import load_classifier, seed_dropout, set_trainable
from skinlesion.network.mirror_image import take_first_branch, with_mirror_image
from skinlesion.network.settings import POOLED
from skinlesion.training.folded import FoldedPart
from skinlesion.training.inner_fold import measure_inner_fold
from skinlesion.training.phases import (
    TRAINED,
    EpochData,
    Phase,
    TrainingSet,
    phases_from_activations,
    phases_from_image_data_generator,
)
from skinlesion.training.resumable import ResumableTraining
from skinlesion.training.settings import TrainingSettings

log = logging.getLogger(__name__)


def train_network(
    config: TrainingSettings, built: BuiltModel, data: TrainingSet, backup: Path
) -> tuple[keras.Model, list[dict[str, JsonValue]]]:
    """Return the trained classifier and the figures of each epoch by name.

    Args:
        config: the settings.
        built: the record of the built model, with which training begins unless there is a warm start.
        data: the training rows.
        backup: folder for the states from which an interrupted training goes on.
    """
    network = load_classifier(layout.built_model(config.models))
    if data.warm_start is not None:
        take_first_branch(load_classifier(data.warm_start.champion.h5), network)
    if config.loader == "image-data-generator":
        phases = phases_from_image_data_generator(config, network, data)
    else:
        phases = phases_from_activations(config, network, built, data)
    history: list[dict[str, JsonValue]] = []
    for number, make_phase in enumerate(phases, start=1):
        history += fit_phase(config, network, make_phase(), number, backup / f"phase-{number}")
    if config.mirrored:
        network = with_mirror_image(network, config.stored_cut or POOLED)
    return network, history


def fit_phase(
    config: TrainingSettings, model: keras.Model, phase: Phase, number: int, folder: Path
) -> list[dict[str, JsonValue]]:
    """Train a phase, or what is left of it, in place, and return its history: for each epoch its figures by name.

    Args:
        config: the settings.
        model: the whole classifier, which shares its weights with the part that the phase trains.
        phase: what is trained on what.
        number: of the phase, from 1; seeds dropout.
        folder: for the state from which an interrupted phase goes on.
    """
    set_trainable(model, from_layer=phase.trainable_from)
    folded = FoldedPart(phase.part)
    training = ResumableTraining(
        folder,
        folded.model,
        measure=lambda part: measure_inner_fold(part, phase.inner_fold),
        patience=config.patience,
        epochs=phase.epochs,
        phase=phase.name,
    )
    if not training.state.finished:
        first = training.state.epoch + 1
        log.info(
            "Training %s, %s; what stands beside the loss is measured on the inner fold",
            TRAINED[phase.name],
            f"from epoch {first} of {phase.epochs} on" if first > 1 else f"for at most {phase.epochs} epochs",
        )
        _compile(folded.model, phase, config)
        training.begin()
        with progress(phase.name, phase.epochs, unit="epochs") as advance:
            advance(training.state.epoch)
            while not training.state.finished:
                epoch = training.state.epoch
                phase.training.start_epoch(epoch)
                seed_dropout(folded.model, [config.seed, number, epoch])
                training.end_epoch(train_epoch(folded.model, phase.training))
                advance(1)
    training.load_best()
    folded.unfold()
    return [{"phase": phase.name, "epoch": at, **figures} for at, figures in enumerate(training.state.history, start=1)]


def train_epoch(model: keras.Model, batches: EpochData) -> dict[str, float]:
    """Train a compiled model on each batch in turn and return its losses by name, each the mean over the images.

    A thread reads the next batch meanwhile. Keras's `fit` is not used: at the end of an epoch it drops TensorFlow's iterator
    while a thread of TensorFlow still waits for a batch from Python. On one processor core both then wait for each other, for
    half a minute or for ever (seen with TensorFlow 2.21).
    """
    sums: defaultdict[str, float] = defaultdict(float)
    images = 0
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as reader:
        following = reader.submit(batches.__getitem__, 0)
        for index in range(len(batches)):
            batch = following.result()
            if index + 1 < len(batches):
                following = reader.submit(batches.__getitem__, index + 1)
            losses = model.train_on_batch(*batch, return_dict=True)
            size = len(batch[0])
            images += size
            for name, loss in losses.items():
                sums[name] += float(loss) * size
    return {name: total / images for name, total in sums.items()}


def _compile(part: keras.Model, phase: Phase, config: TrainingSettings) -> None:
    """Compile a part with AdamW, whose learning rate warms up for one epoch and then decays along a cosine to nearly 0.

    docs/experiments.md shows where the constants come from.
    """
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
        ema_momentum=1 - 1 / max(2, steps),  # the average spans about one epoch
    )
    losses = [keras.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing) for _ in phase.loss_weights]
    part.compile(
        optimizer=optimizer,
        loss=losses if len(losses) > 1 else losses[0],
        loss_weights=list(phase.loss_weights) if len(losses) > 1 else None,
        jit_compile=False,  # XLA is ten times slower for this network on a CPU
    )
