"""The stages in their order, and how to run them without Airflow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.settings import PipelineConfig

STAGES: Final = ("ingest", "resize", "augment", "organize", "build", "embed", "train", "evaluate", "promote")
"""In the order of a run; each is a module of `skinlesion.stages` with one public function of the same name."""

PREPARING: Final = ("collect", "examine")
"""What ingest otherwise begins with, as stages of their own: the sources are asked once, then several workers can share the
reading of the images."""

NIGHTLY: Final = (*PREPARING, *STAGES[:-1])
"""What the nightly DAG runs. Promotion has a DAG of its own: it may wait for a person, and the next night must not."""

SHARDED: Final = frozenset({"examine", "resize", "augment", "embed"})
"""Stages that take a shard, so that several workers can share them."""


def run_stage(stage: str, config: PipelineConfig, shard: Shard | None = None, **options: bool) -> StageReport:
    """Run one stage, or one shard of it. Imports the stage's module only now: some pull in TensorFlow.

    options: what a stage takes besides, as ingest's `prepared`.
    """
    function: Callable[..., StageReport] = getattr(importlib.import_module(f"skinlesion.stages.{stage}"), stage)
    return function(config, **options) if shard is None else function(config, shard, **options)


def run_all(config: PipelineConfig, announce: Callable[[StageReport], None]) -> Sequence[StageReport]:
    """Run every stage in order; `announce` hears each report as it comes. The first error ends the run."""
    reports = []
    for stage in STAGES:
        reports.append(run_stage(stage, config))
        announce(reports[-1])
    return reports


def summary(reports: Sequence[StageReport], metrics: dict[str, Any]) -> dict[str, Any]:
    """Give what `skinlesion run --json` writes."""
    return {"stages": [report.as_dict() for report in reports], "metrics": metrics}
