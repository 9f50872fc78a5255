"""Open the sealed part of the held-out lesions for a version: its figures there, beside the nightly ones, into the history."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, trusted_manifest
from skinlesion.foundation.errors import DataError
from skinlesion.prediction.decision import rule_beside
from skinlesion.prediction.held_out_scores import answers_of
from skinlesion.prediction.measurable import measurable
from skinlesion.prediction.sealed import HeldOutParts
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry, SealedFigures
from skinlesion.registry.register import headline
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import writing
from skinlesion.registry.versions import FIGURES, splits_known

log = logging.getLogger(__name__)


def open_sealed(config: PromotionSettings, number: int, *, actor: str, reason: str) -> HistoryEntry:
    """Measure a version on the sealed lesions and note it in the history; return the entry.

    Raises DataError: no reason, no such version, its files are missing or altered, nothing is sealed, or it learnt the lesions.
    """
    registry = Registry.read(config.models).require_whole()
    version = registry.version(number)
    if not reason.strip():
        raise DataError("No reason is given for opening the sealed lesions. Say why, for those who read the history.")
    candidate = registry.whole_candidate(number)
    if candidate is None:
        raise DataError(f"Files of version {number} are missing or altered, so it cannot be measured. Restore them.")
    manifest, _ = trusted_manifest(config.dataset, splits_known(config.models))
    parts = held_out_parts(config, held_out_rows(manifest))
    if parts.sealed.empty:
        raise DataError(
            f"There is nothing to open. {parts.sentence} `gate_sealed_share` and `gate_sealed_from` say when."
        )
    rows = measurable(config.dataset, parts.sealed, [candidate]).rows
    from skinlesion.evaluation.model_metrics import model_metrics
    from skinlesion.evaluation.scored_images import ScoredImages

    answers = answers_of(config, candidate, rows)
    labels = rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)
    scored = ScoredImages.of(labels, answers.probabilities, rows["group"].tolist())
    figures = headline(model_metrics(scored, rule_beside(candidate.h5), answers))
    sealed = SealedFigures(
        images=len(rows),
        lesions=int(rows["group"].nunique()),
        figures=figures,
        nightly={name: version.figure(name) for name in FIGURES},
    )
    with writing(config.models):
        entry = HistoryEntry(
            at=history.now(),
            what="measured on the sealed lesions",
            actor=actor,
            version=number,
            reason=f"{reason.strip().rstrip('.')}. {sealed.sentence}",
            verdict=version.verdict,
            sealed=sealed,
        )
        history.append(config.models, entry)
    return entry


def held_out_parts(config: PromotionSettings, rows: pd.DataFrame) -> HeldOutParts:
    """Return the held-out rows in their nightly and their sealed part, as the settings have it."""
    return HeldOutParts.of(rows, config.gate_sealed_share, config.gate_sealed_from)


def open_if_due(config: PromotionSettings, number: int) -> None:
    """Open the sealed lesions for a version that came into service, if so many promotions have passed since the last time."""
    every, entries = config.gate_open_sealed_every, Registry.read(config.models).history
    since = next((place for place, one in enumerate(entries) if one.sealed is not None), len(entries))
    promotions = sum(one.what == "promoted" for one in entries[:since])
    if every == 0 or promotions < every:
        return
    try:
        open_sealed(
            config,
            number,
            actor="the setting gate_open_sealed_every",
            reason=f"{promotions} promotions since the last time",
        )
    except DataError as error:  # the model is in service all the same
        log.info("The sealed lesions were due to be opened: %s", error)
