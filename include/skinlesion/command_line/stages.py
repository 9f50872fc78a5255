"""The commands that run stages: `skinlesion run`, one command for each stage, and `skinlesion metrics`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from skinlesion.command_line.display import Display
from skinlesion.command_line.options import Dataset, Json, Models, Quiet, Settings, config_of, shard_of, show_log
from skinlesion.foundation.shard import Shard
from skinlesion.stages.pipeline import SHARDED, RunReport, run_all, run_stage
from skinlesion.stages.sentences import NO_DEVICE, headline
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
    with _shown(quiet) as display:
        reports = run_all(config, display.begin, display.finish)
    metrics = metrics_of(config, str(reports[-1].details["run"]))
    if json_file is not None:
        RunReport(stages=tuple(reports), metrics=metrics.model_dump(mode="json")).write(json_file.absolute())
    if not quiet:
        display.say()
        display.pairs(headline(config, metrics))
        display.say(NO_DEVICE)


def metrics(models: Models = None) -> None:
    """Print the headline of the model in service and the paths of the model and its report."""
    from skinlesion.stages.evaluate import read_metrics

    config = config_of(None, models, None)
    display = Display(Console(highlight=False))
    display.pairs(headline(config, read_metrics(config)))
    display.say(NO_DEVICE)


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
    with _shown(quiet) as display:
        display.begin(stage)
        report = run_stage(stage, config, shard)
        display.finish(report)
    if json_file is not None:
        RunReport(stages=(report,)).write(json_file.absolute())


@contextmanager
def _shown(quiet: bool) -> Iterator[Display]:
    """Provide what shows stages and the log on standard output; if quiet it prints nothing, and the log has only errors."""
    if quiet:
        show_log(quiet)
        yield Display(Console(quiet=True))
        return
    log, package = logging.getLogger(), logging.getLogger("skinlesion")
    package.setLevel(logging.INFO)
    with Display(Console(highlight=False)) as display:
        log.addHandler(display)
        try:
            yield display
        except BaseException:
            display.stop()
            raise
        finally:
            log.removeHandler(display)
