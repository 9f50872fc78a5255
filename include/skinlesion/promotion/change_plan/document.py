"""The plan and the change records on disk and as pages for a reviewer: one HTML file each that loads nothing and reads well on paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment

from skinlesion.foundation import atomic, html_page, layout
from skinlesion.foundation.errors import DataError
from skinlesion.foundation.settings import Settings
from skinlesion.promotion.change_plan.bounds import bounds_in_force
from skinlesion.promotion.change_plan.plan import KINDS, PlanInForce, shapes_the_model, shown
from skinlesion.promotion.change_plan.record import ChangeRecord, read_record, record_path, with_decisions
from skinlesion.promotion.settings import PromotionSettings
from skinlesion.registry import history
from skinlesion.registry.model_files import CHANGE_RECORD_PAGE
from skinlesion.registry.snapshot import Registry, Version

PROTOCOL: Final = {
    "Management of the data": (
        ("Data", "Data checks"),
        "Each night reads the labelled images anew. The split into training and held-out images goes by lesion, and a lesion "
        "once decided keeps its side. The catalog replaces the last one only if the data pass these checks, or a person accepts "
        "what they found.",
    ),
    "Training again": (
        ("Augmentation", "Model", "Training", "Decision"),
        "A candidate is trained on the training lesions alone; an inner fold of these stops the training, calibrates the "
        "probabilities and sets the thresholds. The same data, settings and seed give the same model.",
    ),
    "Evaluation of the performance": (
        ("Evaluation",),
        "The gate judges each version on the held-out lesions, which no training sees. A version that does not meet every "
        "criterion does not go into service by itself.",
    ),
    "Update, approval and the way back": (
        ("Promotion",),
        "A version comes into service with all its files at once, and the history notes who decided and why. What is outside "
        "this plan waits for a person. The version before can be put back at any time; a night does not undo that.",
    ),
}
"""The parts of the protocol, each with the sections of the settings that say how it is done, and what is done."""


@dataclass(frozen=True)
class Setting:
    """A setting as the protocol shows it."""

    name: str
    title: str
    description: str
    value: str


@dataclass(frozen=True)
class Listed:
    """A version of the registry with its record. problem: why there is none."""

    version: Version
    record: ChangeRecord | None
    problem: str


def record_page(record: ChangeRecord) -> str:
    """Return the page of one record, which lies beside the version's report."""
    return _environment().get_template("change_record.html.j2").render(record=record)


def write_record(record: ChangeRecord, registry: Registry) -> None:
    """Store a record beside the version's other files, with what was decided of it, and as a page."""
    record = with_decisions(record, registry)
    record.write(record_path(registry.models, record.run))
    page = layout.candidate(registry.models, record.run) / CHANGE_RECORD_PAGE
    atomic.write_if_changed(page, record_page(record).encode())


def note_decisions(models: Path, number: int) -> None:
    """Bring the record of a version up to date with the history; a version without a whole one gets none."""
    registry = Registry.read(models)
    try:
        record = read_record(models, registry.version(number).run, number)
    except DataError:
        return
    if record is not None:
        write_record(record, registry)


def document(config: PromotionSettings) -> str:
    """Return the plan in force, the protocol as the settings are now, and every version's record as one page."""
    plan, registry = PlanInForce.of(config), Registry.read(config.models)
    settings = {part: list(_settings(config, sections)) for part, (sections, _) in PROTOCOL.items()}
    return (
        _environment()
        .get_template("change_plan.html.j2")
        .render(
            created=history.now(),
            plan=plan,
            kinds=KINDS,
            titles={name: field.title for name, field in type(config).model_fields.items()},
            now=config.model_dump(mode="json"),
            unnamed=[
                name
                for name in type(config).model_fields
                if shapes_the_model(name) and plan.plan is not None and name not in plan.plan.settings
            ],
            bounds=bounds_in_force(plan.plan),
            gate=[one for one in _settings(config, ("Promotion",)) if one.name.startswith("gate_")],
            protocol={
                part: [one for one in found if not one.name.startswith("gate_")] for part, found in settings.items()
            },
            done={part: words for part, (_, words) in PROTOCOL.items()},
            in_service=registry.champion,
            damage=registry.damage,
            listed=list(_listed(registry)),
        )
    )


def _settings(config: PromotionSettings, sections: tuple[str, ...]) -> Iterator[Setting]:
    """Yield the settings of these sections, those of folders left aside, as they are now."""
    of_section = {
        name: part.section
        for part in type(config).__mro__
        if issubclass(part, Settings) and part.__name__ != "Folders"
        for name in part.own_fields()
    }
    for name, field in type(config).model_fields.items():
        if of_section.get(name) in sections:
            yield Setting(name, str(field.title), field.description or "", shown(getattr(config, name)))


def _listed(registry: Registry) -> Iterator[Listed]:
    for version in registry.versions:
        try:
            record = read_record(registry.models, version.run, version.number)
        except (DataError, OSError) as error:
            yield Listed(version, None, str(error))
            continue
        if record is None:
            judged = version.verdict is not None
            yield Listed(version, None, "It was judged before there were records." if judged else "It was not judged.")
        else:
            yield Listed(version, with_decisions(record, registry), "")


def _environment() -> Environment:
    made = html_page.environment(Path(__file__).with_name("templates"))
    made.filters |= {"value": shown}
    return made
