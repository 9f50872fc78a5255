"""Evaluate: the candidate and the model in service on the held-out lesions; figures, plots, report, model card."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.catalog import on_both_sides, read_catalog
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, read_manifest, require_clean_split, training_rows, version
from skinlesion.data.report.written import copy_report
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.data_summary import data_summary
from skinlesion.evaluation.no_lesions import PICTURES_OF_A_KIND, smoke_set
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.settings import PipelineConfig, fingerprint
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.workers import spread
from skinlesion.network.built_model import require_built_model
from skinlesion.network.litert import LiteRTModel, OneForEachThread
from skinlesion.prediction.decision import DecisionRule, rule_beside
from skinlesion.prediction.held_out_scores import answers_for_pictures, answers_of, stored_answers_of, write_answers
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.register import register
from skinlesion.training.warm_start import candidate_to_evaluate

if TYPE_CHECKING:
    from skinlesion.evaluation.scored_images import ScoredImages

EVALUATION_VERSION: Final = 3
"""Counts up when the figures or the report change for a reason that neither the data nor the model tells."""


def evaluate(config: PipelineConfig) -> StageReport:
    """Measure the candidate on the held-out originals, write metrics.json, plots, report.html and model_card.md.

    It becomes a version of the registry; what is in service does not change, that is promote's. The candidate is scored
    from its saved LiteRT file, which train compared with .h5 and .keras.
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
    key = evaluation_key(config, training, rows)
    metrics = _read_metrics(candidate)
    is_written = candidate.report.is_file() and candidate.model_card.is_file()
    is_current = metrics is not None and metrics["key"] == key and is_written and not config.force
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


def evaluation_key(config: PipelineConfig, training: dict[str, Any], rows: pd.DataFrame) -> str:
    """Give what metrics.json is named by: it is stale when the model, the held-out rows or this code are others."""
    return fingerprint([EVALUATION_VERSION, training["sha256"], version(rows), config.robustness_lesions])


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
    from skinlesion.evaluation.mistakes import worst_mistakes
    from skinlesion.evaluation.model_metrics import model_metrics
    from skinlesion.evaluation.scored_images import ScoredImages
    from skinlesion.evaluation.slices import measure_slices, slice_columns

    rule = rule_beside(candidate.h5)
    threshold = rule.malignant_threshold
    labels, lesions = rows["label"].map(LABELS.index).to_numpy(dtype=np.int64), rows["group"].tolist()
    answers = answers_of(config, candidate, rows)
    write_answers(candidate, rows, answers)
    catalog = read_catalog(config.dataset)
    scored = ScoredImages.of(labels, answers.probabilities, lesions)
    figures = model_metrics(scored, rule, answers)
    figures["warnings"] = training["warnings"] + figures["warnings"]
    data = data_summary(config, catalog) | {"report": copy_report(config.dataset, catalog, candidate.data_report)}
    data["notes"] += _warm_start_note(training["warm_start"])
    metrics = {
        "key": key,
        "run": candidate.run,
        "training_version": training["training_version"],
        "held_out_version": version(rows),
        "data_version": data["version"],
        "warm_start": training["warm_start"],
        **figures,
        "out_of_distribution": _smoke(config, candidate, rows),
        "robustness": _robustness(config, candidate, rows, labels),
        **_beside_model_in_service(config, candidate, rows, scored, threshold),
        "slices": measure_slices(scored, slice_columns(rows["image"], catalog), threshold=threshold),
        "data": data,
    }
    mistakes = worst_mistakes(config, candidate, rows, scored, answers.decisions)
    _write(candidate, training, rule, metrics, mistakes)
    return metrics


def _smoke(config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame) -> dict[str, Any]:
    """Return what the decision rule does with pictures that show no lesion."""
    from skinlesion.evaluation.decisions import smoke_summary

    originals = [file.read() for file in view_files(config.dataset, rows.head(PICTURES_OF_A_KIND))]
    kinds, pictures = zip(*smoke_set(originals), strict=True)
    return smoke_summary(kinds, answers_for_pictures(config, candidate, pictures).decisions)


def _robustness(
    config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame, labels: npt.NDArray[np.int64]
) -> dict[str, Any] | None:
    """Give the figures on altered images, each answered from one view; None where the setting says so."""
    from skinlesion.evaluation.robustness import altered, answers_expected, choose_sample, robustness

    if config.robustness_lesions == 0:
        return None
    at = choose_sample(rows, config.robustness_lesions)
    images = [file.read() for file in view_files(config.dataset, rows.iloc[at])]
    models = OneForEachThread(lambda: LiteRTModel(candidate.tflite))
    probabilities = np.empty((answers_expected(len(at)), len(LABELS)))
    with progress("evaluate: robustness", len(probabilities)) as advance:
        found = spread(
            lambda alter: models.get()(alter()), altered(images), workers=config.workers_used(), kind="threads"
        )
        for position, answer in enumerate(found):
            probabilities[position] = answer
            advance(1)
    return robustness(labels[at], rows["group"].iloc[at].tolist(), probabilities, labels)


def _beside_model_in_service(
    config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame, scored: ScoredImages, threshold: float
) -> dict[str, Any]:
    """Give `model_in_service`, its figures on the same images, and `paired`, the differences; None without another one."""
    from skinlesion.evaluation.model_metrics import model_metrics
    from skinlesion.evaluation.paired import paired_differences

    champion = candidate_in_service(config.models)
    if champion is None or champion.run == candidate.run:
        return {"model_in_service": None, "paired": None}
    rule = rule_beside(champion.h5)
    answers = stored_answers_of(config, champion, rows)
    other = replace(scored, probabilities=answers.probabilities)
    thresholds = (threshold, rule.malignant_threshold)
    return {
        "model_in_service": {"run": champion.run, **model_metrics(other, rule, answers)},
        "paired": paired_differences(scored, other, thresholds),
    }


def _warm_start_note(record: dict[str, Any] | None) -> list[str]:
    """Say what a warm start went on from; nothing where training began with the built model."""
    if record is None:
        return []
    return [
        f"Training went on from candidate {record['from']} (warm start): {record['new_images']} images are new since the last "
        f"start from the built model, {record['nights']} warm nights ago."
    ]


def _write(
    candidate: Candidate,
    training: dict[str, Any],
    rule: DecisionRule,
    metrics: dict[str, Any],
    mistakes: list[dict[str, Any]],
) -> None:
    """Write plots, report and model card, and metrics.json after them: it says that they are there."""
    from skinlesion.evaluation import plots
    from skinlesion.evaluation.html_report import ReportContext, render_report
    from skinlesion.evaluation.model_card import CardContext, render_model_card, versions

    created = datetime.fromtimestamp(candidate.training.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
    drawn = plots.all_pngs(metrics, training["history"])
    report = render_report(
        ReportContext(
            title="Skin-lesion classifier: evaluation",
            run_id=candidate.run,
            created=created,
            metrics=metrics,
            plots=drawn,
            slices=metrics["slices"],
            data=metrics["data"],
            versions=versions(metrics, training),
            settings=training["settings"],
            champion_metrics=metrics["model_in_service"],
            mistakes=mistakes,
            files={candidate.model_card.name: "model card", candidate.metrics.name: "all figures as JSON"},
        )
    )
    card = render_model_card(CardContext(candidate.run, created, metrics, training, rule.model_dump(mode="json")))
    for name, content in drawn.items():
        atomic.write_bytes(candidate.folder / f"{name}.png", content)
    atomic.write_text(candidate.report, report)
    atomic.write_text(candidate.model_card, card)
    atomic.write_text(candidate.metrics, json.dumps(metrics, indent=1, allow_nan=False))
