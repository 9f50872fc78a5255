"""One phase of training: compile the part of the network, fit it, leave the model with the weights of the best epoch."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import keras
from pydantic import JsonValue

from skinlesion.foundation.progress import progress
from skinlesion.network.classifier import seed_dropout, set_trainable
from skinlesion.training.folded import FoldedPart
from skinlesion.training.inner_fold import measure_inner_fold
from skinlesion.training.phases import Phase
from skinlesion.training.resumable import ResumableTraining
from skinlesion.training.settings import TrainingSettings

log = logging.getLogger(__name__)


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
        measure=lambda part: measure_inner_fold(part, phase.inner_fold),
        patience=config.patience,
        epochs=phase.epochs,
        phase=phase.name,
    )
    if not training.state.finished:
        first = training.state.epoch + 1
        log.info(
            "Training %s, %s; what stands beside the loss is measured on the inner fold",
            phase.trained,
            f"from epoch {first} of {phase.epochs} on" if first > 1 else f"for at most {phase.epochs} epochs",
        )
        _compile(folded.model, phase, config)
        with progress(phase.name, phase.epochs, unit="epochs") as advance:
            advance(training.state.epoch)

            def start_epoch(epoch: int, logs: Any) -> None:
                phase.training.start_epoch(epoch)
                seed_dropout(folded.model, [config.seed, number, epoch])

            order = keras.callbacks.LambdaCallback(
                on_epoch_begin=start_epoch, on_epoch_end=lambda epoch, logs: advance(1)
            )
            folded.model.fit(
                phase.training,
                initial_epoch=training.state.epoch,
                epochs=phase.epochs,
                verbose=0,
                shuffle=False,
                callbacks=[training, order],
            )
    training.load_best(folded.model)
    folded.unfold()
    return [{"phase": phase.name, "epoch": at, **figures} for at, figures in enumerate(training.state.history, start=1)]


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
