"""The change record of a version that the gate has judged, and the verdict's line about the plan."""

from __future__ import annotations

from pathlib import Path

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.promotion.change_plan.bounds import bounds_in_force, gate_settings, loosened
from skinlesion.promotion.change_plan.changes import Change, change_between, findings
from skinlesion.promotion.change_plan.plan import PlanInForce
from skinlesion.promotion.change_plan.record import (
    ChangeRecord,
    DataChange,
    Finding,
    PlanUsed,
    last_accepted,
    read_record,
)
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry.candidate import Candidate
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import Criterion, Verdict

PLAN_LINE = "change_plan"
"""Name of the verdict's line about the plan."""


def change_record(
    config: PromotionSettings, registry: Registry, verdict: Verdict, *, judged_now: bool = True
) -> ChangeRecord:
    """Return what a version that was judged changes against the model in service, by the plan of today.

    What cannot be compared, and a plan that cannot be read, need a person; neither is an error. judged_now: False for a
    verdict of another time, whose bounds are those of the record that was written then.
    """
    before = _written_before(registry.models, verdict)
    gate = gate_settings(config)
    if not judged_now:
        gate = before.gate if before is not None and before.at == verdict.at else {}
    plan = PlanInForce.of(config)
    accepted, unknown_plan = last_accepted(registry)
    change, changed = _compared(config, registry, verdict, plan)
    found: list[Finding] = []
    loose = loosened(gate, plan.plan, accepted.bounds if accepted is not None else {})
    if loose:
        sentence = f"Bounds loosened: {'; '.join(one.sentence for one in loose)}. Bounds for good stand under `gate` in {plan.path}."
        found.append(Finding(kind="gate", title="Bounds of the gate", inside=False, sentence=sentence))
    if not gate:
        sentence = "By which bounds the gate judged it is not known: its change record is missing or damaged."
        found.append(Finding(kind="gate", title="Bounds of the gate", inside=False, sentence=sentence))
    if plan.problem or unknown_plan:
        found.insert(0, _of_plan(plan.sentence if plan.problem else unknown_plan))
    elif accepted is not None and accepted.plan != plan.digest:
        found.append(
            _of_plan(
                f"The change plan is not the one under which the last promotion was decided ({accepted.plan or 'damaged'}; "
                f"now {plan.digest}). {plan.sentence}"
            )
        )
    return ChangeRecord(
        version=verdict.version,
        run=verdict.run,
        against=verdict.against,
        against_run=registry.in_service.run if registry.in_service is not None else None,
        at=verdict.at,
        plan=PlanUsed(digest=plan.digest, path=str(plan.path), sentence=plan.sentence),
        data=change.data if change is not None else DataChange(),
        settings=change.settings if change is not None else (),
        code=change.code if change is not None else (),
        weights=change.weights if change is not None else (),
        gate=gate,
        bounds=bounds_in_force(plan.plan),
        loosened=loose,
        findings=(*found, *changed),
        outcome=verdict.summary().outcome,
        criteria=tuple(one for one in verdict.criteria if one.name != PLAN_LINE),
        accepted=before.accepted if before is not None else None,
    )


def plan_line(record: ChangeRecord) -> Criterion:
    """Return the line about the plan for the verdict. It holds in any case: outside the plan a person decides."""
    return Criterion(
        name=PLAN_LINE,
        title="The change plan",
        passed=True,
        unjudged="a person decides" if record.outside else None,
        sentence=record.sentence,
        numbers={"needs a person": bool(record.outside)},
    )


def _compared(
    config: PromotionSettings, registry: Registry, verdict: Verdict, plan: PlanInForce
) -> tuple[Change | None, list[Finding]]:
    if registry.in_service is None:
        return None, []
    before, now = (Candidate(layout.candidate(config.models, run)) for run in (registry.in_service.run, verdict.run))
    try:
        change = change_between(config, before, now)
    except (DataError, OSError) as error:
        sentence = f"What changed against version {registry.in_service.version} cannot be told. {error}"
        return None, [Finding(kind="unknown", title="Not comparable", inside=False, sentence=sentence)]
    return change, list(findings(change, plan.plan))


def _of_plan(sentence: str) -> Finding:
    return Finding(kind="plan", title="The plan itself", inside=False, sentence=sentence)


def _written_before(models: Path, verdict: Verdict) -> ChangeRecord | None:
    try:
        return read_record(models, verdict.run, verdict.version)
    except DataError:
        return None
