"""Evaluate: the candidate and the model in service on the held-out lesions; figures, plots, report."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion import atomic, layout
from skinlesion.bucket_table import BucketTable, write_table
from skinlesion.built_model import require_built_model
from skinlesion.candidate import Candidate
from skinlesion.catalog import SPLITS, accepted, data_version, on_both_sides, read_catalog
from skinlesion.config import PipelineConfig, fingerprint
from skinlesion.data_report.written import copy_report
from skinlesion.derived_files import COLUMNS as FILE_COLUMNS
from skinlesion.diagnosis import LABELS
from skinlesion.errors import DataError
from skinlesion.held_out_scores import PREDICTION_COLUMNS, probabilities_of, stored_probabilities_of
from skinlesion.in_service import candidate_in_service
from skinlesion.labels.summary import fallback_counts
from skinlesion.manifest import held_out_rows, read_manifest, require_clean_split, training_rows, version
from skinlesion.registry.register import register
from skinlesion.stage_report import StageReport, Stopwatch
from skinlesion.training.warm_start import candidate_to_evaluate

EVALUATION_VERSION: Final = 2
"""Counts up when the figures or the report change for a reason that neither the data nor the model tells."""

AGE_BANDS: Final = (0, 20, 40, 60, 80, 131)
MISTAKES_SHOWN: Final = 16


def evaluate(config: PipelineConfig) -> StageReport:
    """Measure the candidate on the held-out originals, write metrics.json, plots and report.html, register it.

    Which model is in service does not change: that is promote's. The candidate is scored from its saved LiteRT file, which train compared with .h5 and .keras.
    """
    watch = Stopwatch()
    manifest = read_manifest(config.dataset)
    require_clean_split(manifest)
    rows = held_out_rows(manifest)
    candidate = candidate_to_evaluate(config, training_rows(manifest), require_built_model(config.models))
    training = candidate.read_training()
    if training is None:
        raise DataError(
            f"{candidate.folder} holds no trained candidate for this data and these settings. Run train first."
        )
    key = fingerprint([EVALUATION_VERSION, training["sha256"], version(rows)])
    metrics = _read_metrics(candidate)
    is_current = metrics is not None and metrics["key"] == key and candidate.report.is_file() and not config.force
    if not is_current:
        metrics = _evaluate(config, candidate, training, rows, key)
    assert metrics is not None
    registered = register(config.models, candidate, metrics)
    headline = {name: metrics[name] for name in ("balanced_accuracy", "malignant_auroc", "images", "lesions")}
    return StageReport(
        stage="evaluate",
        seen=len(rows),
        done=0 if is_current else len(rows),
        skipped=len(rows) if is_current else 0,
        refused=0,
        seconds=watch.seconds(),
        details={
            **headline,
            "lesions_on_both_sides": len(on_both_sides(manifest, "group")),
            "run": candidate.run,
            "metrics_file": str(candidate.metrics),
            "report": str(candidate.report),
            "version": registered.number,
        },
    )


def read_metrics(config: PipelineConfig) -> dict[str, Any]:
    """Give what evaluate measured of the model in service. Raises DataError when there is none."""
    candidate = candidate_in_service(config.models)
    metrics = _read_metrics(candidate) if candidate else None
    if metrics is None:
        raise DataError(
            f"No evaluated model is in service in {config.models}. Run the pipeline; `skinlesion models list` shows the "
            "candidates and what the gate said of them."
        )
    return metrics


def metrics_of(config: PipelineConfig, run: str) -> dict[str, Any]:
    """Give what evaluate measured of a candidate. Raises DataError when it did not."""
    metrics = _read_metrics(Candidate(layout.candidate(config.models, run)))
    if metrics is None:
        raise DataError(f"Candidate {run} of {config.models} is not evaluated. Run evaluate.")
    return metrics


def _read_metrics(candidate: Candidate) -> dict[str, Any] | None:
    try:
        metrics: dict[str, Any] = json.loads(candidate.metrics.read_text())
    except (OSError, ValueError):
        return None
    return metrics


def _evaluate(
    config: PipelineConfig, candidate: Candidate, training: dict[str, Any], rows: pd.DataFrame, key: str
) -> dict[str, Any]:
    from skinlesion.evaluation.html_report import ReportContext, render_report
    from skinlesion.evaluation.metrics import measure, measure_slices

    labels = rows["label"].map(LABELS.index).to_numpy(dtype=np.int64)
    lesions = rows["group"].tolist()
    probabilities = probabilities_of(config, candidate, rows)
    predictions = rows[["image", "sha256", "label", "group"]].assign(**dict(zip(LABELS, probabilities.T, strict=True)))
    write_table(candidate.predictions, predictions, PREDICTION_COLUMNS)
    champion = candidate_in_service(config.models)
    champion_metrics = None
    if champion is not None and champion.run != candidate.run:
        champion_metrics = measure(labels, stored_probabilities_of(config, champion, rows), lesions)
    catalog = read_catalog(config.dataset)
    figures = measure(labels, probabilities, lesions)
    figures["warnings"] = training["warnings"] + figures["warnings"]
    slices = measure_slices(labels, probabilities, lesions, _slice_columns(rows, catalog))
    data = _data(config, catalog) | {"report": copy_report(config.dataset, catalog, candidate.data_report)}
    data["notes"] += _warm_start_note(training["warm_start"])
    metrics = {
        "key": key,
        "run": candidate.run,
        "training_version": training["training_version"],
        "held_out_version": version(rows),
        "data_version": data_version(catalog),
        "warm_start": training["warm_start"],
        **figures,
        "slices": slices,
        "model_in_service": champion_metrics,
        "data": data,
    }
    report = render_report(
        ReportContext(
            title="Skin-lesion classifier: evaluation",
            run_id=candidate.run,
            created=datetime.fromtimestamp(candidate.training.stat().st_mtime, tz=UTC).isoformat(timespec="seconds"),
            metrics=figures,
            slices=slices,
            history=training["history"],
            data=data,
            settings=training["settings"],
            champion_metrics=champion_metrics,
            mistakes=_worst_mistakes(config, rows, labels, probabilities),
        )
    )
    _write_plots(candidate, figures, training["history"])
    atomic.write_text(candidate.report, report)
    atomic.write_text(candidate.metrics, json.dumps(metrics, indent=1))
    return metrics


def _slice_columns(rows: pd.DataFrame, catalog: pd.DataFrame) -> pd.DataFrame:
    of_image = catalog.set_index("image").loc[rows["image"]]
    bands = pd.cut(of_image["age"], AGE_BANDS, right=False, labels=_band_names())
    columns = {"sex": of_image["sex"], "age_band": bands, "site": of_image["site"], "source": of_image["source"]}
    frame = pd.DataFrame(columns).reset_index(drop=True)
    for name in ("sex", "site", "source"):
        frame[name] = frame[name].where(frame[name] != "", None)
    return frame[[name for name in frame if frame[name].notna().any()]]


def _band_names() -> list[str]:
    bands = [f"{low}-{high - 1}" for low, high in pairwise(AGE_BANDS)]
    return [*bands[:-1], f"{AGE_BANDS[-2]}+"]


def _data(config: PipelineConfig, catalog: pd.DataFrame) -> dict[str, Any]:
    """Say what the model was trained and measured on, and what could not be used."""
    usable = accepted(catalog)
    counts = usable.groupby(["label", "split"]).agg(images=("image", "size"), lesions=("group", "nunique"))
    resized = BucketTable(layout.tables(config.dataset, "resize"), FILE_COLUMNS).read()
    refused = pd.concat(
        [
            catalog.loc[catalog["refused"] != "", ["image", "refused"]],
            resized.loc[resized["refused"] != "", ["image", "refused"]],
        ]
    ).rename(columns={"refused": "reason"})
    lesions, files = len(on_both_sides(usable, "group")), len(on_both_sides(usable, "sha256"))
    notes = [f"{lesions} lesions and {files} files lie on both sides of the split (checked in this run)."]
    fallback = fallback_counts(usable["dx"], listed=100)
    if fallback:
        named = ", ".join(f"{dx} ({count})" for dx, count in fallback.items())
        notes.append(f"Diagnoses that were not recognised count as unknown: {named}.")
    blank = int((usable["dx"] == "").sum())
    if blank:
        notes.append(f"{blank} images have no diagnosis and count as unknown.")
    return {
        "counts": [
            {"label": label, "split": split, **{name: int(counts[name].get((label, split), 0)) for name in counts}}
            for label in LABELS
            for split in SPLITS
        ],
        "refused": refused.head(1000).to_dict("records"),
        "refused_total": len(refused),
        "refused_by_reason": dict(Counter(refused["reason"]).most_common(50)),
        "notes": notes,
    }


def _warm_start_note(record: dict[str, Any] | None) -> list[str]:
    """Say what a warm start went on from; nothing where training began with the built model."""
    if record is None:
        return []
    return [
        f"Training went on from candidate {record['from']} (warm start): {record['new_images']} images are new since the last "
        f"start from the built model, {record['nights']} warm nights ago."
    ]


def _worst_mistakes(
    config: PipelineConfig, rows: pd.DataFrame, labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Give the held-out images that the model is surest of and wrong about, worst first."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_SHOWN]
    folder = layout.output(config.dataset)
    return [
        {
            "image": rows["image"].iloc[position],
            "truth": LABELS[labels[position]],
            "predicted": LABELS[predicted[position]],
            "probability": float(confidence[position]),
            "jpeg": (folder / rows["file"].iloc[position]).read_bytes(),
        }
        for position in worst
    ]


def _write_plots(candidate: Candidate, figures: dict[str, Any], history: list[dict[str, Any]]) -> None:
    from skinlesion.evaluation.plots import confusion_matrix_png, history_png, reliability_png, roc_png

    plots = {
        "confusion_matrix.png": confusion_matrix_png(figures),
        "roc.png": roc_png(figures),
        "reliability.png": reliability_png(figures),
        "history.png": history_png(history),
    }
    for name, content in plots.items():
        atomic.write_bytes(candidate.folder / name, content)
