"""The stages in their order, and how to run them without Airflow."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Final

from pydantic import Field, JsonValue

from skinlesion.data.sources import any_source
from skinlesion.foundation.record import Record
from skinlesion.foundation.shard import Shard
from skinlesion.foundation.stage_report import StageReport
from skinlesion.stages.quiet.look import PROMOTION, Look
from skinlesion.stages.quiet.sights import Sights
from skinlesion.stages.settings import PipelineConfig

STAGES: Final = ("ingest", "resize", "augment", "organize", "build", "embed", "train", "evaluate", "promote")
"""The stages of a run in their order. Each is a module of `skinlesion.stages` with one public function of the same name."""

PREPARING: Final = ("collect", "examine")
"""The first steps of ingest as stages of their own: the sources are read once, then several workers share the reading of the
images."""

NIGHTLY: Final = (*PREPARING, *STAGES[:-1], "review")
"""The stages of the nightly DAG, whose last one makes the queue of the page Review. Promotion has a DAG of its own: it may wait for a person, and the next night must not."""

SHARDED: Final = frozenset({"examine", "resize", "augment", "embed"})
"""The stages that take a shard, so that several workers can share them."""


class RunReport(Record):
    """What `--json` writes for `skinlesion run` and for each stage.

    Attributes:
        stages: the report of each stage, in their order.
        metrics: what evaluate measured, as in metrics.json; empty for a single stage.
    """

    stages: tuple[StageReport, ...]
    metrics: dict[str, JsonValue] = Field(default_factory=dict)


def run_stage(stage: str, config: PipelineConfig, shard: Shard | None = None, **options: bool) -> StageReport:
    """Run one stage, or one shard of it, and return its report; where nothing is new, it only looks (see `stages.quiet`).

    The module of the stage is imported only now, since some import TensorFlow, and most pandas.

    Args:
        stage: its name.
        config: the settings.
        shard: the slice of the images, for a stage of `SHARDED`; None for all images.
        options: further arguments of the stage, such as `prepared` of ingest.
    """
    # Where there are sources, the stages that collect look once they have.
    look = None if stage == "collect" or (stage == "ingest" and any_source(config)) else Look(stage, config, shard)
    if look is not None and (quiet := look.report()) is not None:
        return quiet
    function: Callable[..., StageReport] = getattr(importlib.import_module(f"skinlesion.stages.{stage}"), stage)
    report = function(config, **options) if shard is None else function(config, shard, **options)
    if look is not None:
        look.note(report)
    return report


def nothing_new(config: PipelineConfig) -> bool:
    """Return whether one look shows that no stage of a night has anything to do, and promotion nothing to decide.

    config: the settings of the night; promotion has those of the installation. The sources were asked before.
    """
    see, shards = Sights(config), Shard.every(config.shards)
    if Look(PROMOTION, PipelineConfig.of({}), at=see).report() is None:
        return False
    return all(
        Look(stage, config, shard, at=see).report() is not None
        for stage in reversed(NIGHTLY[1:])  # the folders of images last
        for shard in (shards if stage in SHARDED else [None])
    )


def note_promotion(config: PipelineConfig) -> None:
    """Note for `nothing_new` if promotion has nothing left to decide with these models and these settings of the gate."""
    from skinlesion.promotion.decide import is_decided
    from skinlesion.registry.snapshot import Registry

    look = Look(PROMOTION, config)
    if is_decided(Registry.read(config.models)):
        look.note(StageReport(stage=PROMOTION, seen=0, done=0, skipped=0, seconds=0))


def run_all(
    config: PipelineConfig, begin: Callable[[str], None], finish: Callable[[StageReport], None]
) -> Sequence[StageReport]:
    """Run every stage in order and return their reports. The first error ends the run.

    Args:
        config: the settings.
        begin: called with the name of each stage before it.
        finish: called with each report when its stage has finished.
    """
    reports = []
    for stage in STAGES:
        begin(stage)
        reports.append(run_stage(stage, config))
        finish(reports[-1])
    return reports
