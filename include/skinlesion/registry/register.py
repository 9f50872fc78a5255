"""Number a candidate, and note what was measured of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skinlesion.foundation.errors import DataError
from skinlesion.registry import history
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.switch import writing
from skinlesion.registry.versions import (
    Figure,
    KnownVersions,
    Measurement,
    Registered,
    append_measured,
    append_registered,
    registered_now,
)


def register(models: Path, candidate: Candidate, metrics: dict[str, Any] | None = None) -> Registered:
    """Return the version of a candidate, a new one if its files are not registered; note metrics that are new.

    A candidate whose files were removed by the retention setting and that was trained again is a new version too.
    Registering twice changes nothing. Raises DataError if the candidate's files are missing or altered.
    """
    training = candidate.read_training()
    if training is None:
        raise DataError(f"{candidate.folder} holds no whole candidate: files are missing or altered. Run train again.")
    with writing(models):
        known = KnownVersions.read(models)
        version = known.of(candidate.run, training.sha256)
        if version is None or not Registry.read(models).version(version.number).has_files:
            version = registered_now(known, candidate, training)
            append_registered(models, version)
        if metrics is not None:
            measured = _measurement(metrics)
            before = known.measurements.get(version.number, [])
            if not before or before[-1].model_copy(update={"at": measured.at}) != measured:
                append_measured(models, version.number, measured)
    return version


def _measurement(metrics: dict[str, Any]) -> Measurement:
    point = metrics.get("operating_point") or {}
    point_intervals, intervals = point.get("intervals") or {}, metrics.get("intervals") or {}
    recall = ((metrics.get("per_class") or {}).get("malignant") or {}).get("recall")
    names = ("balanced_accuracy", "malignant_auroc", "expected_calibration_error")
    figures = {name: _figure(metrics.get(name), intervals.get(name)) for name in names}
    # A model without a threshold of its own works at the likeliest class.
    figures["sensitivity"] = _figure(point.get("sensitivity", recall), point_intervals.get("sensitivity"))
    figures["specificity"] = _figure(point.get("specificity"), point_intervals.get("specificity"))
    return Measurement(
        at=history.now(),
        figures=figures,
        images=metrics["images"],
        lesions=metrics["lesions"],
        held_out_version=metrics["held_out_version"],
    )


def _figure(value: float | None, interval: list[float] | None) -> Figure:
    low, high = interval or (None, None)
    return Figure(value=value, low=low, high=high)
