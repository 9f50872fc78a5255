"""The commands that run stages: `skinlesion run`, one command for each stage, and `skinlesion metrics`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from skinlesion.command_line.options import Dataset, Json, Models, Quiet, Settings, config_of, out, shard_of, show_log
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.registry.metrics_record import MetricsRecord
from skinlesion.stages.pipeline import SHARDED, RunReport, run_all, run_stage
from skinlesion.stages.settings import PipelineConfig


def run(
    dataset: Dataset = None,
    models: Models = None,
    settings: Settings = None,
    json_file: Json = None,
    quiet: Quiet = False,
) -> None:
    """Run every stage in order: ingest, resize, augment, organize, build, embed, train, evaluate, promote."""
    from skinlesion.stages.evaluate import metrics_of

    config = config_of(dataset, models, settings)
    show_log(quiet)
    reports = run_all(config, announce=_announcer(quiet))
    promotion = reports[-1].details
    metrics = metrics_of(config, str(promotion["run"]))
    if json_file is not None:
        RunReport(stages=tuple(reports), metrics=metrics.model_dump(mode="json")).write(json_file.absolute())
    if not quiet:
        _print_headline(config, metrics)
        out.print(f"{'Gate:':<19}{promotion['verdict']}", markup=False)


def metrics(models: Models = None) -> None:
    """Print the headline of the model in service and the paths of the model and its report."""
    from skinlesion.stages.evaluate import read_metrics

    config = config_of(None, models, None)
    _print_headline(config, read_metrics(config))


def stage_command(stage: str) -> Callable[..., None]:
    """Return the function of the command that runs a stage alone. It has `--shard` if the stage takes one."""

    def whole(
        dataset: Dataset = None,
        models: Models = None,
        settings: Settings = None,
        json_file: Json = None,
        quiet: Quiet = False,
    ) -> None:
        _run_one(stage, config_of(dataset, models, settings), None, json_file, quiet)

    def sharded(
        dataset: Dataset = None,
        models: Models = None,
        settings: Settings = None,
        shard: Annotated[str, typer.Option(metavar="I/N", help="Only this slice of the images.")] = "1/1",
        json_file: Json = None,
        quiet: Quiet = False,
    ) -> None:
        _run_one(stage, config_of(dataset, models, settings), shard_of(shard), json_file, quiet)

    return sharded if stage in SHARDED else whole


def _run_one(stage: str, config: PipelineConfig, shard: Shard | None, json_file: Path | None, quiet: bool) -> None:
    show_log(quiet)
    report = run_stage(stage, config, shard)
    _announcer(quiet)(report)
    if json_file is not None:
        RunReport(stages=(report,)).write(json_file.absolute())


def _announcer(quiet: bool) -> Callable[[StageReport], None]:
    return lambda report: None if quiet else out.print(str(report), markup=False)


def _print_headline(config: PipelineConfig, metrics: MetricsRecord) -> None:
    from skinlesion.foundation import layout
    from skinlesion.registry.candidate import Candidate

    candidate = Candidate(layout.candidate(config.models, metrics.run))
    for name, title in (("balanced_accuracy", "Balanced accuracy"), ("malignant_auroc", "Malignant AUROC")):
        out.print(f"{title + ':':<19}{_figure(getattr(metrics, name), metrics.intervals.get(name))}", markup=False)
    out.print(f"{'Measured on:':<19}{metrics.images} held-out images of {metrics.lesions} lesions")
    out.print(f"{'Model:':<19}{_model_of(config, candidate.run)}", markup=False)
    out.print(f"{'Report:':<19}{candidate.report}", markup=False)
    for warning in metrics.warnings:
        out.print(f"{'Note:':<19}{warning}", markup=False)
    out.print("Research and education only: not a medical device.")


def _model_of(config: PipelineConfig, run: str) -> Path:
    """Return the path of the model in service if it is that of the run, else the path of the candidate's model."""
    from skinlesion.foundation import layout
    from skinlesion.registry import in_service
    from skinlesion.registry.candidate import Candidate

    now = in_service.read(config.models)
    if now is not None and now.run == run:
        return layout.model_in_service(config.models)
    return Candidate(layout.candidate(config.models, run)).h5


def _figure(value: float | None, interval: list[float] | None) -> str:
    """Return a figure and its interval as text."""
    if value is None:
        return "not measured"
    return f"{value:.3f}" + (f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
