"""Evaluate the candidate, and the model in service, on the held-out lesions: figures, plots, report, model card."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skinlesion.data.catalog import read_catalog
from skinlesion.data.labels.classes import LABELS
from skinlesion.data.manifest import held_out_rows, training_rows, trusted_manifest, version
from skinlesion.data.report.written import copy_report
from skinlesion.data.split import on_both_sides
from skinlesion.data.training_view import view_files
from skinlesion.evaluation.data_summary import data_summary
from skinlesion.evaluation.no_lesions import PICTURES_OF_A_KIND, smoke_set
from skinlesion.foundation import atomic, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.progress import progress
from skinlesion.foundation.regular_file import set_aside
from skinlesion.foundation.settings import fingerprint
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.foundation.wording import counted
from skinlesion.foundation.workers import spread
from skinlesion.network.built_model import require_built_model
from skinlesion.network.litert import LiteRTModel, OneForEachThread
from skinlesion.prediction.decision import DecisionRule, rule_beside
from skinlesion.prediction.held_out_scores import (
    answers_for_pictures,
    measured_answers_of,
    stored_answers_of,
    write_answers,
    write_statistics,
)
from skinlesion.prediction.measurable import Measurable, measurable
from skinlesion.promotion.change_plan.plan import shapes_the_model
from skinlesion.promotion.sealed import held_out_parts
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.in_service import candidate_in_service
from skinlesion.registry.metrics_record import (
    MetricsRecord,
    ModelInService,
    PairedFigure,
    Robustness,
    SmokeSet,
)
from skinlesion.registry.register import register
from skinlesion.registry.training_record import TrainingRecord, WarmStartRecord
from skinlesion.registry.versions import splits_known
from skinlesion.stages.relabelled import note_relabelled
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.warm_start import candidate_to_evaluate

if TYPE_CHECKING:
    from skinlesion.data.split_version import SplitVersion
    from skinlesion.evaluation.gallery import Seen
    from skinlesion.evaluation.mistakes import Mistake
    from skinlesion.evaluation.scored_images import ScoredImages
    from skinlesion.prediction.answers import Answers

log = logging.getLogger(__name__)

EVALUATION_VERSION: Final = 7
"""Count it up when the figures or the report change though neither the data nor the model does."""


def evaluate(config: PipelineConfig) -> StageReport:
    """Measure the candidate on the held-out originals, write metrics.json, plots, report.html and model_card.md.

    The candidate becomes a version of the registry; the model in service stays. The candidate is scored from its saved LiteRT
    file, which train compared with .h5 and .keras. Raises DataError when there is no trained candidate.
    """
    watch = Stopwatch()
    manifest, split = trusted_manifest(config.dataset, splits_known(config.models))
    candidate = candidate_to_evaluate(config, training_rows(manifest), require_built_model(config.models))
    atomic.remove_partials(candidate.folder)
    training = candidate.read_training()
    if training is None:
        raise DataError(
            f"{candidate.folder} holds no trained candidate for this data and these settings. Run train first."
        )
    held_out = held_out_rows(manifest)
    parts = held_out_parts(config, held_out)
    own = measurable(config.dataset, parts.nightly, [candidate])
    rows, key = own.rows, evaluation_key(config, training, own.rows)
    metrics = None if config.force else _current_metrics(candidate, key)
    is_current = metrics is not None
    if metrics is None:
        note_relabelled(config, rows, held_out)
    sealed = "" if parts.sealed.empty else parts.sentence
    metrics = metrics or _evaluate(config, candidate, training, own, split, key, sealed)
    registered = register(config.models, candidate, metrics)
    return watch.report(
        "evaluate",
        seen=len(rows),
        done=0 if is_current else len(rows),
        details={
            "balanced_accuracy": metrics.balanced_accuracy,
            "malignant_auroc": metrics.malignant_auroc,
            "shown": {name: metrics.figure(name).text for name in ("balanced_accuracy", "malignant_auroc")},
            "images": metrics.images,
            "lesions": metrics.lesions,
            "left_out": metrics.left_out.model_dump(),
            "lesions_on_both_sides": len(on_both_sides(manifest, "group")),
            "run": candidate.run,
            "metrics_file": str(candidate.metrics),
            "report": str(candidate.report),
            "version": registered.number,
        },
    )


def evaluation_key(config: PipelineConfig, training: TrainingRecord, rows: pd.DataFrame) -> str:
    """Return what the figures depend on, hashed: metrics.json is stale when the model, the held-out rows or this code change."""
    return fingerprint([EVALUATION_VERSION, training.sha256, version(rows), config.robustness_lesions])


def read_metrics(config: PipelineConfig) -> MetricsRecord:
    """Return the metrics of the model in service. Raises DataError when there are none."""
    candidate = candidate_in_service(config.models)
    metrics = MetricsRecord.read_if_there(candidate.metrics) if candidate else None
    if metrics is None:
        raise DataError(
            f"No evaluated model is in service in {config.models}. Run the pipeline; `skinlesion models list` shows the "
            "candidates and the verdicts of the gate."
        )
    return metrics


def metrics_of(config: PipelineConfig, run: str) -> MetricsRecord:
    """Return the metrics of a candidate. Raises DataError when it is not evaluated."""
    metrics = MetricsRecord.read_if_there(Candidate(layout.candidate(config.models, run)).metrics)
    if metrics is None:
        raise DataError(f"Candidate {run} of {config.models} is not evaluated. Run evaluate.")
    return metrics


def _current_metrics(candidate: Candidate, key: str) -> MetricsRecord | None:
    """Return the metrics if they have this key and the files made from them are there; None means: evaluate again."""
    try:
        metrics = MetricsRecord.read_if_there(candidate.metrics)
    except DataError as error:
        log.warning("evaluate: %s It is written anew", error)
        set_aside(candidate.metrics)
        return None
    is_written = all(path.is_file() for path in (candidate.report, candidate.model_card, candidate.picture_statistics))
    return metrics if metrics is not None and metrics.key == key and is_written else None


def _evaluate(
    config: PipelineConfig,
    candidate: Candidate,
    training: TrainingRecord,
    own: Measurable,
    split: SplitVersion,
    key: str,
    sealed: str,
) -> MetricsRecord:
    from skinlesion.evaluation.gallery import gallery
    from skinlesion.evaluation.mistakes import worst_mistakes
    from skinlesion.evaluation.model_metrics import model_metrics
    from skinlesion.evaluation.scored_images import ScoredImages
    from skinlesion.evaluation.slices import measure_slices, slice_columns

    rule = rule_beside(candidate.h5)
    threshold, rows = rule.malignant_threshold, own.rows
    labels, lesions = rows["label"].map(LABELS.index).to_numpy(dtype=np.int64), rows["group"].tolist()
    answers, measures = measured_answers_of(config, candidate, rows)
    write_answers(candidate, rows, answers)
    catalog = read_catalog(config.dataset)
    write_statistics(candidate, rows, measures, catalog)
    scored = ScoredImages.of(labels, answers.probabilities, lesions)
    figures = model_metrics(scored, rule, answers, rows["dx"].tolist())
    report = copy_report(config.dataset, catalog, candidate.data_report)
    data = data_summary(config, catalog, _warm_start_note(training.warm_start), report)
    other, paired, not_compared = _beside_model_in_service(config, candidate, own, scored, answers, rule)
    warnings = [*training.warnings, *filter(None, [own.left_out.sentence, sealed]), *figures.warnings]
    metrics = MetricsRecord(
        **dict(figures.model_copy(update={"warnings": warnings})),
        key=key,
        run=candidate.run,
        training_version=training.training_version,
        held_out_version=version(rows),
        data_version=data.version,
        split=split,
        left_out=own.left_out,
        warm_start=training.warm_start.model_dump() if training.warm_start is not None else None,
        out_of_distribution=_smoke(config, candidate, rule, rows),
        robustness=_robustness(config, candidate, rows, labels),
        model_in_service=other,
        paired=paired,
        not_compared=not_compared,
        slices=measure_slices(scored, slice_columns(rows["image"], catalog), threshold=threshold),
        data=data,
    )
    mistakes = worst_mistakes(config, candidate, rows, scored, answers.decisions)
    _write(candidate, training, rule, metrics, mistakes, gallery(config.dataset, rows, scored, answers.decisions))
    return metrics


def _smoke(config: PipelineConfig, candidate: Candidate, rule: DecisionRule, rows: pd.DataFrame) -> SmokeSet:
    """Return what the rule decides on pictures that show no lesion."""
    from skinlesion.evaluation.decisions import smoke_summary

    originals = [file.read() for file in view_files(config.dataset, rows.head(PICTURES_OF_A_KIND))]
    kinds, pictures = zip(*smoke_set(originals), strict=True)
    return smoke_summary(kinds, answers_for_pictures(config, candidate, pictures).decisions)


def _robustness(
    config: PipelineConfig, candidate: Candidate, rows: pd.DataFrame, labels: npt.NDArray[np.int64]
) -> Robustness | None:
    """Return the figures on altered images, without test-time augmentation; None where the setting switches it off."""
    from skinlesion.evaluation.robustness import altered, choose_sample, robustness

    if config.robustness_lesions == 0:
        return None
    at = choose_sample(rows, config.robustness_lesions)
    images = [file.read() for file in view_files(config.dataset, rows.iloc[at])]
    models = OneForEachThread(lambda: LiteRTModel(candidate.tflite))
    pictures = altered(images)
    probabilities = np.empty((len(pictures), len(LABELS)))
    with progress("evaluate: robustness", len(probabilities)) as advance:
        found = spread(lambda alter: models.get()(alter()), pictures, workers=config.workers_used(), kind="threads")
        for position, answer in enumerate(found):
            probabilities[position] = answer
            advance(1)
    return robustness(labels[at], rows["group"].iloc[at].tolist(), probabilities, labels)


def _beside_model_in_service(
    config: PipelineConfig,
    candidate: Candidate,
    own: Measurable,
    scored: ScoredImages,
    answers: Answers,
    rule: DecisionRule,
) -> tuple[ModelInService | None, dict[str, PairedFigure] | None, str]:
    """Return the figures of the model in service, the differences, and why there are none although another is in service.

    Both models are compared on the images of which neither learnt the lesion. own: those that the candidate is measured on;
    scored, answers: its answers for them.
    """
    from skinlesion.evaluation.model_metrics import model_metrics
    from skinlesion.evaluation.paired import paired_differences

    champion = candidate_in_service(config.models)
    if champion is None or champion.run == candidate.run:
        return None, None, ""
    try:
        both = measurable(config.dataset, own.of, [candidate, champion])
    except DataError as error:
        return None, None, str(error)
    at = own.rows["file"].isin(both.rows["file"]).to_numpy()
    part = scored.part(at)
    beside = None if at.all() else model_metrics(part, rule, answers.part(at))
    other_rule = rule_beside(champion.h5)
    other_answers = stored_answers_of(config, champion, both.rows)
    other = replace(part, probabilities=other_answers.probabilities)
    in_service = ModelInService(
        **dict(model_metrics(other, other_rule, other_answers)),
        run=champion.run,
        left_out=both.left_out,
        candidate=beside,
    )
    return in_service, paired_differences(part, other, (rule.malignant_threshold, other_rule.malignant_threshold)), ""


def _warm_start_note(record: WarmStartRecord | None) -> list[str]:
    """Return a sentence about what a warm start went on from, none where training began with the built model."""
    if record is None:
        return []
    return [
        f"Training went on from candidate {record.champion} (warm start): {counted(record.new_images, 'image is', 'images are')} "
        f"new since the last start from the built model, {counted(record.nights, 'warm night')} ago."
    ]


def _write(
    candidate: Candidate,
    training: TrainingRecord,
    rule: DecisionRule,
    metrics: MetricsRecord,
    mistakes: list[Mistake],
    seen: list[Seen],
) -> None:
    """Write plots, report and model card, and metrics.json after them, since it stands for all of them."""
    from skinlesion.evaluation import plots
    from skinlesion.evaluation.html_report import ReportContext, render_gallery, render_report
    from skinlesion.evaluation.model_card import render_model_card

    created = datetime.fromtimestamp(candidate.training.stat().st_mtime, tz=UTC).isoformat(timespec="seconds")
    drawn = plots.all_pngs(metrics, training.history)
    context = ReportContext(created, metrics, training, drawn, mistakes, seen)
    shaping = set(filter(shapes_the_model, training.settings)) - {"weights"}  # a path perhaps; the card has their hash
    card = render_model_card(created, metrics, training, rule, shaping)
    pictures = {candidate.folder / f"{name}.png": content for name, content in drawn.items()}
    candidate.gallery.unlink(missing_ok=True)
    for path in (*pictures, candidate.report, candidate.model_card):
        set_aside(path)
    for path, content in pictures.items():
        atomic.write_bytes(path, content)
    if context.gallery_file:
        atomic.write_text(candidate.gallery, render_gallery(context))
    atomic.write_text(candidate.report, render_report(context))
    atomic.write_text(candidate.model_card, card)
    metrics.write(candidate.metrics)
