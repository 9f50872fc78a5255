"""The name of a training run: a hash of everything that its result depends on."""

from __future__ import annotations

from typing import Final

import pandas as pd

from skinlesion.data import manifest
from skinlesion.foundation import layout
from skinlesion.foundation.settings import fingerprint
from skinlesion.network.built_model import BuiltModel
from skinlesion.registry.candidate import Candidate
from skinlesion.training.settings import TrainingSettings

TRAINING_VERSION: Final = 4
"""Counts up when training gives another result for a reason that no setting tells."""


def candidate_of(config: TrainingSettings, rows: pd.DataFrame, built: BuiltModel) -> Candidate:
    """Give the candidate that these training rows, settings and initial model lead to.

    rows: the manifest's training rows. The held-out rows have no part in it.
    """
    inputs = [TRAINING_VERSION, manifest.version(rows), built.key, config.fingerprint("train")]
    return Candidate(layout.candidate(config.models, fingerprint(inputs)))


def warm_candidate_of(
    config: TrainingSettings, rows: pd.DataFrame, built: BuiltModel, champion: Candidate
) -> Candidate:
    """Give the candidate that these inputs lead to when training goes on from the champion's weights."""
    cold = candidate_of(config, rows, built)
    return Candidate(layout.candidate(config.models, fingerprint([cold.run, champion.run, config.warm_epochs])))
