"""change_record.json beside a version's other files: what it changes, inside the plan or outside and why, who decided."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, JsonValue

from skinlesion.foundation import layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.record import Record, RecordPart
from skinlesion.promotion.change_plan.bounds import Loosened
from skinlesion.registry import model_files
from skinlesion.registry.history import SWITCHES
from skinlesion.registry.snapshot import Registry
from skinlesion.registry.verdict import Criterion, Outcome


class CountOfImages(RecordPart):
    """The training images of a diagnosis from a source: before, now, and the changes between.

    Attributes:
        diagnosis: as the labels say; empty for none. A relabelled image counts for its diagnosis at the time.
        source: as the catalog says; empty for none.
        gained, lost: relabelled images that came from another diagnosis, or went to one.
    """

    diagnosis: str
    source: str
    before: int
    added: int
    removed: int
    gained: int
    lost: int
    now: int


class Relabelled(RecordPart):
    """Images whose diagnosis or class was corrected: from what, to what, how many, and by whom where people looked at them."""

    diagnosis_before: str
    class_before: str
    diagnosis: str
    class_now: str
    images: int
    by: dict[str, int] = Field(default_factory=dict)


class DataChange(RecordPart):
    """What is different in the training images, lesion side of the split and copies left aside."""

    before: int = 0
    added: int = 0
    removed: int = 0
    relabelled: int = 0
    now: int = 0
    counts: tuple[CountOfImages, ...] = ()
    relabellings: tuple[Relabelled, ...] = ()


class ChangedValue(RecordPart):
    """A setting, or something else with a name, before and now; None for what was not there."""

    name: str
    before: JsonValue
    now: JsonValue


class Finding(RecordPart):
    """One kind of change.

    Attributes:
        kind: see `plan.Kind`; `gate` for loosened bounds, `plan` for the plan itself, `unknown` where nothing can be compared.
        title: for people.
        inside: whether the plan lets it into service by itself.
        sentence: what changed, and why a person is needed if one is.
    """

    kind: str
    title: str
    inside: bool
    sentence: str


class PlanUsed(RecordPart):
    """The plan that a version was judged under. digest: empty for a damaged one. sentence: which plan it is."""

    digest: str
    path: str
    sentence: str


class Decision(RecordPart):
    """What was decided of the version, as the history has it: what, by whom, when, why."""

    what: str
    by: str
    at: str
    why: str


class Accepted(RecordPart):
    """The plan, by its digest, and the bounds of the gate under which the version came into service by that switch."""

    switch: int
    plan: str
    bounds: dict[str, JsonValue]


class ChangeRecord(Record):
    """What a version changes against the model in service.

    Attributes:
        version, run: of the version.
        against, against_run: of the version that was in service; None for none.
        at: when it was judged, ISO 8601, UTC.
        plan: the plan then.
        data, settings, code, weights: what changed.
        gate: the gate's settings that it was judged by.
        bounds: the loosest ones that needed no person then.
        loosened: those of them that are looser than they may be without a person.
        findings: each kind of change, inside the plan or outside.
        outcome: what the gate said.
        criteria: each line of the gate.
        decisions: who decided what, oldest first.
        accepted: plan and bounds under which it came into service last; None if it never did.
    """

    remedy: ClassVar[str] = "Remove it, and judge the version again: start skin_lesion_promote with its number."

    version: int
    run: str
    against: int | None
    against_run: str | None
    at: str
    plan: PlanUsed
    data: DataChange = DataChange()
    settings: tuple[ChangedValue, ...] = ()
    code: tuple[ChangedValue, ...] = ()
    weights: tuple[ChangedValue, ...] = ()
    gate: dict[str, JsonValue] = Field(default_factory=dict)
    bounds: dict[str, JsonValue] = Field(default_factory=dict)
    loosened: tuple[Loosened, ...] = ()
    findings: tuple[Finding, ...] = ()
    outcome: Outcome
    criteria: tuple[Criterion, ...] = ()
    decisions: tuple[Decision, ...] = ()
    accepted: Accepted | None = None

    @property
    def outside(self) -> tuple[Finding, ...]:
        """The findings for which a person is needed."""
        return tuple(one for one in self.findings if not one.inside)

    @property
    def sentence(self) -> str:
        """Whether it is inside the plan, in words, with the reasons if it is not."""
        if self.outside:
            return f"Outside the change plan, so a person decides: {' '.join(one.sentence for one in self.outside)}"
        if self.against is None:
            return f"Inside the change plan: nothing was in service before, so there is no change. {self.plan.sentence}"
        return f"Inside the change plan. {self.plan.sentence}"


def record_path(models: Path, run: str) -> Path:
    """Return the path of a candidate's change record."""
    return layout.candidate(models, run) / model_files.CHANGE_RECORD


def read_record(models: Path, run: str, number: int) -> ChangeRecord | None:
    """Return the change record of a version; None if it has none. Raises DataError if the file does not fit."""
    record = ChangeRecord.read_if_there(record_path(models, run))
    return record if record is not None and record.version == number else None


def last_accepted(registry: Registry) -> tuple[Accepted | None, str]:
    """Return plan and bounds under which the last promotion was decided, and why they are not known if they are not.

    None without a reason: nothing was promoted yet, or by a program that wrote no change records.
    """
    for entry in registry.history:
        if entry.what == "promoted":
            run = registry.version(entry.version).run
            try:
                record = read_record(registry.models, run, entry.version)
            except (DataError, OSError) as error:
                return None, f"Under which plan version {entry.version} was accepted cannot be read. {error}"
            # The process that switched may have been killed before it noted the switch in the record.
            return (with_decisions(record, registry).accepted if record is not None else None), ""
    return None, ""


def with_decisions(record: ChangeRecord, registry: Registry) -> ChangeRecord:
    """Return a record with what the history says was decided of its version."""
    entries = [
        one
        for one in reversed(registry.history)
        if one.version == record.version and (one.what in SWITCHES or one.what in ("approved", "declined"))
    ]
    decisions = tuple(Decision(what=one.what, by=one.actor, at=one.at, why=one.reason) for one in entries)
    accepted = record.accepted
    switches = [one.switch for one in entries if one.what == "promoted" and one.switch is not None]
    if switches and (accepted is None or accepted.switch != switches[-1]):
        accepted = Accepted(switch=switches[-1], plan=record.plan.digest, bounds=record.bounds)
    return record.model_copy(update={"decisions": decisions, "accepted": accepted})
