"""Promote: put the candidate in service if it passes the gate."""

from __future__ import annotations

from skinlesion.data.manifest import read_manifest, training_rows
from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.stage_report import StageReport, Stopwatch
from skinlesion.network.built_model import require_built_model
from skinlesion.promotion.decide import judge_once, switch_to
from skinlesion.promotion.mlflow_mirror import mirror
from skinlesion.registry.history import this_user
from skinlesion.registry.register import register
from skinlesion.registry.retention import remove_old_files
from skinlesion.registry.snapshot import Registry
from skinlesion.stages.settings import PipelineConfig
from skinlesion.training.warm_start import candidate_to_evaluate


def promote(config: PipelineConfig) -> StageReport:
    """Judge the candidate of this data and these settings, once. Put it in service if it passes and no person need approve.

    A candidate that fails is no error: the report says why it failed and what a person can do.
    """
    watch = Stopwatch()
    rows = training_rows(read_manifest(config.dataset))
    candidate = candidate_to_evaluate(config, rows, require_built_model(config.models))
    if candidate.read_training() is None or not candidate.metrics.is_file():
        raise DataError(
            f"{candidate.folder} holds no evaluated candidate for this data and these settings. Run evaluate."
        )
    number = register(config.models, candidate).number
    actor = this_user()
    judgement = judge_once(config, number, actor=actor)
    sentence = judgement.sentence
    is_promoted = judgement.next == "switch" and not (config.require_approval or judgement.needs_person)
    if is_promoted:
        switch_to(config, judgement, actor=actor, reason=judgement.reason)
    elif judgement.next == "switch":
        sentence += f" It waits for approval: `skinlesion models promote {number} --reason ...` puts it in service."
    elif not judgement.passed and judgement.judged_now:
        sentence += f" To put it in service all the same: `skinlesion models promote {number} --reason ...`."
    removed = remove_old_files(config.models, config.keep_versions, config.keep_former_champions)
    mirror(config)
    now = Registry.read(config.models).in_service
    return watch.report(
        "promote",
        seen=1,
        done=int(judgement.judged_now or is_promoted),
        refused=int(judgement.judged_now and not judgement.passed),
        details={
            "run": candidate.run,
            "version": number,
            "passed": judgement.passed,
            "verdict": sentence,
            "promoted": is_promoted,
            "needs_person": judgement.needs_person,
            "in_service": now.version if now is not None else None,
            "model": str(layout.model_in_service(config.models)),
            "versions_without_files": [*removed],
        },
    )
