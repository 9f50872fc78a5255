"""From a candidate to the model in service: judge it once, wait for a person where one is asked for, switch."""

from __future__ import annotations

import logging
from typing import Literal

from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import RecordPart
from skinlesion.promotion.change_plan.document import note_decisions, write_record
from skinlesion.promotion.change_plan.record import ChangeRecord
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry import history
from skinlesion.registry.history import HistoryEntry
from skinlesion.registry.snapshot import Registry, Version
from skinlesion.registry.switch import promote, put_there_anew, writing
from skinlesion.registry.verdict import Verdict, VerdictSummary, read_verdict, verdict_path

log = logging.getLogger(__name__)

Next = Literal["switch", "nothing"]


class Judgement(RecordPart):
    """What is to be done about a version; the tasks of the promotion DAG hand it on as JSON.

    Attributes:
        version: number of the version.
        run: its candidate's name.
        next: `switch` if it passed and was not yet put in service, else `nothing`.
        judged_now: False if it had its verdict already, from another run than the `actor` who asks.
        passed: what the verdict says, and whether it says so provisionally.
        against: the version that it was compared with, which must still be in service when it is switched.
        needs_person: whether it is outside the change plan, so that a person must approve whatever the settings say.
        sentence: for a log or a notice.
    """

    version: int
    run: str
    next: Next
    judged_now: bool
    passed: bool
    is_provisional: bool = False
    against: int | None
    needs_person: bool = False
    sentence: str

    @property
    def reason(self) -> str:
        """Why it comes into service, for the history."""
        return f"It passed the gate{' provisionally' if self.is_provisional else ''}"


def judge_once(
    config: PromotionSettings, number: int, *, actor: str, again: bool = False, dag_run: str | None = None
) -> Judgement:
    """Judge a version unless that was done, and return what is to be done about it.

    What is in service is put there anew first if a file of it was altered: nobody else looks at it every night.

    A night with nothing new asks for the same version again. A version that is or was in service, that lost, or that was
    declined keeps its verdict, so the next night does not undo a rollback. A version that passed and was left there, by a
    crash or by a promotion that came first, is judged again if another model is in service by now.

    Args:
        config: settings of the gate.
        number: number of the version.
        actor: who asks.
        again: judge in any case unless the version is in service; for a person who asks for it.
        dag_run: the DAG and Airflow's name of its run, where the actor is one. If a retry or a cleared task asks again, it
            gets its own verdict again, with `judged_now`.
    """
    registry = Registry.read(config.models).require_whole()
    if _mended_what_is_in_service(config, actor):
        registry = Registry.read(config.models)
    version = registry.version(number)
    now = registry.in_service
    if now is not None and now.version == number and now.is_whole():
        return _settled(version, f"Version {number} is in service since {now.entry.at}.")
    is_own = dag_run is not None and _is_judged_by(registry, version, dag_run)
    if is_own and version.verdict is not None and not version.verdict.passed:
        return _of_verdict(version, version.verdict, True, None)
    if is_own and version.verdict is not None and version.verdict.against == (now.version if now is not None else None):
        return _of_verdict(version, version.verdict, True, _record_of_today(config, registry, version))
    settled = None if again else _settling(config, registry, version)
    if settled is not None:
        return settled
    from skinlesion.promotion.change_plan.judged import change_record, plan_line
    from skinlesion.promotion.gate import judge

    verdict = judge(config, registry, number)
    record = change_record(config, registry, verdict)
    write_record(record, registry)
    verdict = verdict.model_copy(update={"criteria": (*verdict.criteria, plan_line(record))})
    note_verdict(config, verdict, actor, dag_run)
    return _of_verdict(version, verdict.summary(), True, record)


def _mended_what_is_in_service(config: PromotionSettings, actor: str) -> bool:
    try:
        mended = put_there_anew(config.models, actor=actor)
    except DataError as error:  # the verdict says that nothing can be compared with it
        log.warning("%s", error)
        return False
    if mended is not None:
        log.warning("Version %d is in service: %s.", mended.version, mended.reason)
    return mended is not None


def _is_judged_by(registry: Registry, version: Version, dag_run: str) -> bool:
    """Return whether the last that happened to a version is the verdict that this run asked for."""
    happened = [one for one in registry.of_version(version.number) if one.what != "removed"]
    return bool(happened) and happened[0].what == "judged" and happened[0].dag_run == dag_run


def _of_verdict(version: Version, verdict: VerdictSummary, judged_now: bool, record: ChangeRecord | None) -> Judgement:
    """Return what follows from a verdict. record: what the version changes; None if that is not known."""
    needs_person = verdict.passed and (record is None or bool(record.outside))
    sentence = verdict.sentence(version.number)
    if needs_person:
        sentence += f" {record.sentence}" if record is not None else " What it changes is not known: a person decides."
    return Judgement(
        version=version.number,
        run=version.run,
        next="switch" if verdict.passed else "nothing",
        judged_now=judged_now,
        passed=verdict.passed,
        is_provisional=verdict.outcome == "passed provisionally",
        against=verdict.against,
        needs_person=needs_person,
        sentence=sentence,
    )


def _settling(config: PromotionSettings, registry: Registry, version: Version) -> Judgement | None:
    """Return the judgement of a version whose verdict stands, None if it must be judged."""
    verdict, number = version.verdict, version.number
    if version.state == "former champion":
        return _settled(version, f"Version {number} was in service before: only a person puts it back.")
    if verdict is None:
        return None
    if version.state == "rejected" or not verdict.passed:
        entry = next(one for one in registry.of_version(number) if one.what in ("judged", "declined"))
        why = "was declined" if entry.what == "declined" else "did not pass the gate"
        return _settled(version, f"Version {number} {why} on {entry.at}: {entry.reason}")
    now = registry.in_service.version if registry.in_service is not None else None
    if verdict.against != now:
        return None
    return _of_verdict(version, verdict, False, _record_of_today(config, registry, version) if verdict.passed else None)


def _record_of_today(config: PromotionSettings, registry: Registry, version: Version) -> ChangeRecord | None:
    """Return the change record of a version whose verdict stands, by the plan of today; None if the verdict's file is gone."""
    from skinlesion.promotion.change_plan.judged import change_record

    verdict = read_verdict(config.models, version.run, version.number)
    if verdict is None:
        return None
    record = change_record(config, registry, verdict, judged_now=False)
    write_record(record, registry)
    return record


def _settled(version: Version, sentence: str) -> Judgement:
    verdict = version.verdict
    return Judgement(
        version=version.number,
        run=version.run,
        next="nothing",
        judged_now=False,
        passed=verdict is not None and verdict.passed,
        against=verdict.against if verdict is not None else None,
        sentence=sentence,
    )


def note_verdict(config: PromotionSettings, verdict: Verdict, actor: str, dag_run: str | None = None) -> None:
    """Store a verdict with its version, and in the history."""
    with writing(config.models):
        verdict.write(verdict_path(config.models, verdict.run))
        entry = HistoryEntry(
            at=verdict.at,
            what="judged",
            actor=actor,
            version=verdict.version,
            reason=verdict.sentence,
            verdict=verdict.summary(),
            dag_run=dag_run,
        )
        history.append(config.models, entry)


def note_answer(
    config: PromotionSettings, number: int, answer: Literal["approved", "declined"], *, actor: str, at: str, reason: str
) -> bool:
    """Note in the history what a person, or nobody in time, said of a version; return False if it was noted before.

    at: when the answer was given, ISO 8601, UTC.
    """
    with writing(config.models) as registry:
        verdict = registry.version(number).verdict
        entry = HistoryEntry(at=at, what=answer, actor=actor, version=number, reason=reason, verdict=verdict)
        if any(one == entry for one in registry.history):
            return False
        history.append(config.models, entry)

    note_decisions(config.models, number)
    return True


def switch_to(config: PromotionSettings, judgement: Judgement, *, actor: str, reason: str) -> HistoryEntry:
    """Put a version that passed in service, in the place of the one that it was compared with.

    Returns the history's entry; done again, that of the first time. Raises Superseded if another version came first.
    """
    registry = Registry.read(config.models)
    now = registry.in_service
    if now is not None and now.version == judgement.version and now.is_whole():
        entry = now.entry
    else:
        entry = promote(config.models, judgement.version, actor=actor, reason=reason, instead_of=judgement.against)
        from skinlesion.promotion.sealed import open_if_due

        open_if_due(config, judgement.version)
    note_decisions(config.models, judgement.version)
    return entry


def newest(registry: Registry) -> Version:
    """Return the version that was measured last. Raises DataError if there is none, or the registry is damaged."""
    measured = registry.require_whole().known.measured
    if not measured:
        raise DataError(
            f"No candidate was evaluated in {registry.models}. Run skin_lesion_retrain, or `skinlesion run`."
        )
    return registry.version(measured[-1].number)


def is_decided(registry: Registry) -> bool:
    """Return whether nothing is left to judge, to ask or to put in service: the newest version lost, or is or was in service."""
    version, now = newest(registry), registry.in_service
    if now is not None and not now.is_whole():
        return False
    if version.state in ("champion", "former champion", "rejected"):
        return True
    return version.verdict is not None and not version.verdict.passed
