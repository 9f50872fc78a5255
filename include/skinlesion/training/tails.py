"""Training of all tails of a network, one after another."""

from __future__ import annotations

from pathlib import Path

import keras
from pydantic import JsonValue

from skinlesion.foundation import layout
from skinlesion.network.built_model import BuiltModel
from skinlesion.network.classifier import load_classifier
from skinlesion.network.settings import POOLED
from skinlesion.network.tails import join_tails, take_tail
from skinlesion.training.fit import fit_phase
from skinlesion.training.phases import TrainingSet, phases_from_activations, phases_from_image_data_generator
from skinlesion.training.settings import TrainingSettings


def train_tails(
    config: TrainingSettings, built: BuiltModel, data: TrainingSet, backup: Path
) -> tuple[keras.Model, list[dict[str, JsonValue]]]:
    """Return the trained classifier, in which the tails are joined, and the figures of each epoch by name.

    Args:
        config: the settings.
        built: the record of the built model, with which each tail begins unless there is a warm start.
        data: the training rows.
        backup: folder for the states from which an interrupted training goes on.
    """
    champion = load_classifier(data.warm_start.champion.h5) if data.warm_start is not None else None
    networks: list[keras.Model] = []
    history: list[dict[str, JsonValue]] = []
    phases_before = 0
    for tail in range(1, config.tails_used + 1):
        network = load_classifier(layout.built_model(config.models))
        if champion is not None:
            take_tail(champion, network, tail, config.branches, config.mirrored)
        if config.loader == "image-data-generator":
            phases = phases_from_image_data_generator(config, network, data)
        else:
            phases = phases_from_activations(config, network, built, data, tail)
        for number, make_phase in enumerate(phases, start=phases_before + 1):
            history += fit_phase(config, network, make_phase(), number, backup / f"phase-{number}")
        phases_before += len(phases)
        networks.append(network)
    agree_up_to = config.stored_cut or POOLED
    return join_tails(networks, agree_up_to, config.branches, config.mirrored), history
