"""Number a candidate, and note what was measured of it."""

from __future__ import annotations

from pathlib import Path

from skinlesion.foundation.errors import DataError
from skinlesion.registry import history, signature
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.figure import Figure
from skinlesion.registry.lost import require_all_known
from skinlesion.registry.metrics_record import MetricsRecord, ModelFigures
from skinlesion.registry.switch import writing
from skinlesion.registry.versions import (
    FIGURES,
    KnownVersions,
    Measurement,
    Registered,
    append_measured,
    append_registered,
    note_beside,
    registered_now,
)


def register(models: Path, candidate: Candidate, metrics: MetricsRecord | None = None) -> Registered:
    """Return the version of a candidate, a new one if its files are not registered; note metrics that are new.

    A candidate whose files were removed by the retention setting and that was trained again is a new version too.
    Registering twice changes nothing. Raises DataError if the candidate's files are missing or altered.
    """
    training = candidate.read_training()
    if training is None:
        raise DataError(f"{candidate.folder} holds no whole candidate: files are missing or altered. Run train again.")
    with writing(models) as registry:
        known = KnownVersions.read(models)
        version = known.of(candidate.run, training.sha256)
        if version is None or not registry.version(version.number).has_files:
            require_all_known(models, known)
            version = registered_now(known, candidate, training)
            append_registered(models, version)
        note_beside(candidate, version)
        signature.sign(models, version.number, version.sha256)
        if metrics is not None:
            measured = measurement(metrics, history.now())
            before = known.measurements.get(version.number, [])
            if not before or before[-1].model_copy(update={"at": measured.at}) != measured:
                append_measured(models, version.number, measured)
    return version


def headline(metrics: ModelFigures) -> dict[str, Figure]:
    """Return the figures of `versions.FIGURES` with their intervals."""
    return {name: metrics.figure(name) for name in FIGURES}


def measurement(metrics: MetricsRecord, at: str) -> Measurement:
    """Return what the registry keeps of a measurement."""
    return Measurement(
        at=at,
        figures=headline(metrics),
        images=metrics.images,
        lesions=metrics.lesions,
        held_out_version=metrics.held_out_version,
        split=metrics.split,
        warnings=tuple(metrics.warnings),
    )
